# SPDX-License-Identifier: GPL-2.0
"""The group that starts programs of a small Debian whose files are in no cache."""

import os
import re
import time
from contextlib import contextmanager

from lower import NullDisks
from system import MIB, MNT, SECTOR, cpu_times, drop_caches, read, run

WHERE = f"{MNT}/root"
DISK = f"{MNT}/disk"
# They end each read 80 us after its start, by a timer.
SLOW = {"irqmode": 2, "completion_nsec": 80_000, "mbps": 0}
# null_blk counts in MiB. It divides the limit into parts of 20 ms.
SLOW_200 = {**SLOW, "mbps": 191}

PROGRAMS = {
    "python": ("/usr/bin/python3", "-c", "import json, ssl, sqlite3"),
    "git": ("/usr/bin/git", "--version"),
    "bash": ("/bin/bash", "-lc", "true"),
    "perl": ("/usr/bin/perl", "-e", "1"),
}

LAYERS = ("layer3.0", "layer3.1", "layer3.2")
# The file systems without device-mapper, and their kinds.
PEERS = {
    name: name.split("-", 1)[0]
    for name in ("erofs-4k", "erofs-hc-64k", "squashfs-4k", "squashfs-128k", "squashfs-zstd-128k")
}


def loops(names, direct, prefix=""):
    """Loop devices over the files of the mounted disk, as overlaybdsetup creates them."""
    return {
        f"{prefix}{name}": run(
            "losetup",
            "--find",
            "--show",
            "-r",
            f"--direct-io={'on' if direct else 'off'}",
            f"{DISK}/{name}",
        ).strip()
        for name in names
    }


def lower_reads(devices):
    """The bytes and the number of the reads that these devices have done."""
    fields = [read(f"/sys/class/block/{os.path.basename(path)}/stat").split() for path in devices]
    return sum(int(field[2]) for field in fields) * SECTOR, sum(int(field[0]) for field in fields)


def table_of(bench, disks, made, prefix=""):
    """The table of all layers, over ZFiles on these disks, whose devices are created."""
    table = f"0 {bench.images[f'{prefix}ext4']['bytes'] // SECTOR} lsmt_target"
    for n, layer in enumerate(LAYERS):
        facts = bench.images[f"{prefix}{layer}"]
        lower = disks[f"{prefix}{layer}"]
        device = bench.create(
            f"z{n}", f"0 {facts['content'] // SECTOR} zfile_target {lower} {facts['bytes']}"
        )
        made.insert(1, f"z{n}")
        table += f" {device} {facts['content']}"
    return table


@contextmanager
def mounted(bench, disks, contender):
    """Mounts the Debian as this contender has it."""
    made = []
    if contender == "ours":
        bench.module("ours")
        made.append("m")
        device, kind = bench.create("m", table_of(bench, disks, made, "cold-")), "ext4"
    elif contender == "linear":
        sectors = bench.images["cold-ext4"]["bytes"] // SECTOR
        made.append("l")
        device, kind = bench.create("l", f"0 {sectors} linear {disks['cold-ext4']} 0"), "ext4"
    else:
        device, kind = disks[f"cold-{contender}"], PEERS[contender]
    run("mount", "-t", kind, "-o", "ro", device, WHERE)
    run("mount", "--bind", "/dev", f"{WHERE}/dev")
    try:
        yield device
    finally:
        run("umount", f"{WHERE}/dev")
        run("umount", WHERE)
        bench.remove(*made)


def start(command):
    """The time in ms from fork to end of a program in the Debian."""
    begin = time.monotonic_ns()
    child = os.fork()
    if child == 0:
        try:
            os.chroot(WHERE)
            os.chdir("/")
            os.execve(command[0], command, {"PATH": "/usr/bin:/bin", "HOME": "/"})
        finally:
            os._exit(127)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return (time.monotonic_ns() - begin) / 1e6


def measure(bench, case, contender, lower):
    """Starts each program after the caches have been dropped."""
    total, cpu = 0, 0
    before = lower_reads(lower)
    for name, command in PROGRAMS.items():
        drop_caches()
        busy = cpu_times()[0]
        took = start(command)
        cpu += cpu_times()[0] - busy
        bench.sample(f"{case}-{name}", contender, took, "ms")
        total += took
    after = lower_reads(lower)
    bench.sample(case, contender, total, "ms", cpu=cpu)
    if after[0] != before[0]:
        bench.sample(f"{case}-bytes", contender, (after[0] - before[0]) / MIB, "MiB")
        bench.sample(f"{case}-reads", contender, after[1] - before[1], "reads")


def on_disks(bench, case, disks):
    """Measures all contenders in turns on such disks."""
    for _ in bench.rounds(case):
        for contender in ("ours", "linear", *PEERS):
            with mounted(bench, disks, contender):
                names = {"ours": LAYERS, "linear": ("ext4",)}.get(contender, (contender,))
                measure(bench, case, contender, [disks[f"cold-{name}"] for name in names])


def on_loops(bench, disk):
    """Over files of a slow disk: loop devices with direct I/O and through the page cache."""
    run("mount", "-t", "ext4", "-o", "ro", disk, DISK)
    try:
        for _ in bench.rounds("cold-loop"):
            for case, direct in (("cold-direct", True), ("cold-buffered", False)):
                disks = loops((*LAYERS, "erofs-4k"), direct, "cold-")
                for contender in ("ours", "erofs-4k"):
                    with mounted(bench, disks, contender):
                        measure(bench, case, contender, [disk])
                run("losetup", "--detach", *disks.values())
    finally:
        run("umount", DISK)


def group_cold(bench):
    """On ramdisks, on disks that take 80 us, on those with 200 MB/s, and on loop devices."""
    for folder in (WHERE, DISK):
        os.makedirs(folder, exist_ok=True)
    names = [name for name in bench.images if re.match("cold-(?!disk)", name)]
    on_disks(bench, "cold-ram", {name: bench.disks.get(name) for name in names})
    bench.disks.release()
    disks = NullDisks(bench, names)
    for case, settings in (("cold-80us", SLOW), ("cold-200mb", SLOW_200)):
        on_disks(bench, case, disks.open(settings))
        disks.close()
    disks.end()
    disks = NullDisks(bench, ["cold-disk"])
    on_loops(bench, disks.open(SLOW)["cold-disk"])
    disks.close()
    disks.end()


GROUPS = {"cold": group_cold}
