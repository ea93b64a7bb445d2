# SPDX-License-Identifier: GPL-2.0
"""Executes a plan of measurements, as the init of the guest's kernel.

tests/bench/boot.py packs this folder into one file, which the Python of the set of programs `bench`
runs; it has the same path in the guest. tests/bench/run writes the plan (paths, groups, durations,
the kernel's errors) as JSON. The kernel parameter BENCH_PLAN names it. Each figure is at once a
line on the console, "SAMPLE" and JSON. The host computes medians and ratios from the samples and
compares them with the floors.

Contenders take turns: each is measured once in a round, in the same order in each round. Modules
that register the same target names cannot be loaded together, so each turn loads its own.
"""

import ctypes
import json
import os
import subprocess
import sys
import traceback

import cold
import cpus
import creation
import devices
import loops
import peer
import scale
import stack
import targets
from bench import Bench
from system import MNT

GROUPS = {
    **targets.GROUPS,
    **devices.GROUPS,
    **creation.GROUPS,
    **stack.GROUPS,
    **cold.GROUPS,
    **loops.GROUPS,
    **cpus.GROUPS,
    **scale.GROUPS,
    **peer.GROUPS,
}


def main():
    with open(os.environ["BENCH_PLAN"], encoding="utf-8") as file:
        plan = json.load(file)
    os.environ["PATH"] = plan["path"]
    # dmsetup must not wait for udev, which does not run.
    os.environ["DM_DISABLE_UDEV"] = "1"
    for kind, path in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", MNT)):
        subprocess.run(["mount", "-t", kind, kind, path], check=False)
    bench = Bench(plan)
    print("PROGRESS booted", flush=True)
    for name in plan["groups"]:
        try:
            GROUPS[name](bench)
        except (RuntimeError, OSError, KeyError, ValueError) as error:
            # The figures of the groups before this one are valid; the host fails the run.
            print(f"FAILED {name}: {error}", flush=True)
            traceback.print_exc()
            break
    bench.complain()
    print("DONE", flush=True)


if __name__ == "__main__":
    if os.getpid() != 1:
        sys.exit("tests/bench/guest is the init of a virtual machine, run tests/bench/run")
    try:
        main()
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    # An init must not return. User-mode Linux powers off. QEMU's machine can only reboot, which
    # ends QEMU.
    os.sync()
    command = 0x4321FEDC if os.path.exists("/proc/exitcode") else 0x01234567
    ctypes.CDLL(None).reboot(ctypes.c_int(command))
