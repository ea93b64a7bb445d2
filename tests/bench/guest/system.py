# SPDX-License-Identifier: GPL-2.0
"""What the guest asks of its kernel: to run programs, and what /proc says."""

import os
import re
import subprocess

SECTOR = 512
MIB = 1 << 20
MNT = "/mnt"


def run(*command, check=True):
    if os.environ.get("BENCH_TRACE"):
        print("+", *command, flush=True)
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def read(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


def cpu_times():
    """(busy, all) seconds of all CPUs since boot."""
    fields = [int(field) for field in read("/proc/stat").split("\n", 1)[0].split()[1:]]
    hz = os.sysconf("SC_CLK_TCK")
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / hz, sum(fields[:8]) / hz


def memory():
    """The bytes of kernel memory in use, by kind."""
    info = dict(re.findall(r"^(\w+):\s+(\d+)", read("/proc/meminfo"), re.M))
    kinds = {
        kind: int(info.get(kind, 0)) * 1024 for kind in ("Slab", "VmallocUsed", "Percpu", "MemFree")
    }
    return kinds
