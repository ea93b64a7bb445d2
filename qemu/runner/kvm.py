# SPDX-License-Identifier: GPL-2.0
"""Whether a guest boots under KVM. The answer is kept in the cache."""

import json
import os
import stat
import time
from pathlib import Path

from .guest import Guest
from .host import CACHE, say
from .kernels import AMD64
from .machine import qemu_command

# The time in seconds that a guest has to boot under KVM.
PROBE_LIMIT = 25


def probe_kvm(kernel, make_disks):
    """Whether a guest boots under KVM; None if it neither boots nor ends in time. The device node
    alone proves nothing: on some hosts QEMU stops or hangs with it."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    say("probing whether a guest boots under KVM")
    disk, initrd = make_disks()
    with open(disk.with_name("probe.log"), "w", encoding="utf-8") as log:
        guest = Guest(qemu_command(kernel, "kvm", disk, "probe", initrd=initrd), log)
        deadline = time.monotonic() + PROBE_LIMIT
        try:
            while (line := guest.line(deadline)) is not None:
                if line.endswith("@@vm ready"):
                    return True
            return False
        except TimeoutError:
            say(
                f"it did not within {PROBE_LIMIT} s: this run does without KVM "
                "(OVERLAYBD_ACCEL=kvm or tcg skips the probe)"
            )
            return None
        finally:
            guest.kill()
            disk.unlink()


def accelerator(wanted, kernel, make_disks):
    """The accelerator for guests of this kernel: `wanted`, or else `kvm` or `tcg`. make_disks
    returns the root disk and the initramfs of a guest for the probe."""
    if kernel.architecture != AMD64:
        return "tcg"
    if wanted:
        return wanted
    # The answer is valid until the host reboots or reloads its KVM module, which changes the ctime
    # of the device node.
    node = os.stat("/dev/kvm") if os.path.exists("/dev/kvm") else None
    key = [
        Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        os.getuid(),
        [node.st_rdev, stat.S_IMODE(node.st_mode), node.st_gid, node.st_ctime] if node else None,
    ]
    cache = CACHE / "kvm-probe.json"
    try:
        known = json.loads(cache.read_text())
        if known["key"] == key and time.time() < known.get("until", float("inf")):
            return known["accel"]
    except (OSError, ValueError, KeyError):
        pass
    boots = probe_kvm(kernel, make_disks)
    answer = {"key": key, "accel": "kvm" if boots else "tcg"}
    if boots is None:
        # A busy host is as slow as one on which KVM hangs: probe again, but not before an hour has
        # passed.
        answer["until"] = time.time() + 3600
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps(answer))
    return answer["accel"]
