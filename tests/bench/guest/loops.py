# SPDX-License-Identifier: GPL-2.0
"""The group that compares loop devices: how much memory and time files take through them."""

import os
import re

from cold import DISK, LAYERS, SLOW, loops, lower_reads, table_of
from lower import NullDisks
from system import MIB, MNT, drop_caches, read, run

IMAGE = f"{MNT}/image"

# Whether loop devices do direct I/O, and how much is read ahead in KiB: above, on the device of all
# layers, and below, on the disk with the files. "ours" is what overlaybdsetup does.
WAYS = {
    "ours": (True, 128, 128),
    "direct-512": (True, 512, 128),
    "buffered": (False, 128, 128),
    "buffered-512-above": (False, 512, 128),
    "buffered-512-below": (False, 128, 512),
    "buffered-512": (False, 512, 512),
    "buffered-0-below": (False, 128, 0),
}


def read_ahead(device, kib):
    number = os.stat(device).st_rdev
    path = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/queue/read_ahead_kb"
    with open(path, "w", encoding="ascii") as file:
        file.write(str(kib))


def cached():
    """The bytes of files in the page cache, of all file systems."""
    return int(re.search(r"^Cached:\s+(\d+)", read("/proc/meminfo"), re.M).group(1)) * 1024


def measure(bench, way, disk, pattern, paths, reads):
    drop_caches()
    pages, lower = cached(), lower_reads([disk])[0]
    done = bench.read_files(paths, 1, reads)
    pages, lower = cached() - pages, lower_reads([disk])[0] - lower
    value, unit = (
        (done["reads"] / done["ns"] * 1e9, "reads/s")
        if reads
        else (done["bytes"] / done["ns"] * 1e3, "MB/s")
    )
    bench.sample(
        f"loops-{pattern}", way, value, unit, cpu_per_gib=done["cpu"] / (done["bytes"] / (1 << 30))
    )
    bench.sample(f"loops-{pattern}-memory", way, pages / MIB, "MiB")
    bench.sample(f"loops-{pattern}-bytes", way, lower / MIB, "MiB")


def group_loops(bench):
    """Files in order and at random, through ext4 on all layers, whose files are on a slow disk."""
    for folder in (IMAGE, DISK):
        os.makedirs(folder, exist_ok=True)
    lists = {}
    # Every fourth file is enough for those in order.
    for name, step in (("list", 4), ("list-large", 1)):
        lists[name] = f"{MNT}/{name}"
        with open(lists[name], "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(
                f"{IMAGE}/{line}\n"
                for line in read(bench.images[name]["path"]).splitlines()[::step]
            )
    disks = NullDisks(bench, ["disk"])
    disk = disks.open(SLOW)["disk"]
    run("mount", "-t", "ext4", "-o", "ro", disk, DISK)
    bench.module("ours")
    for _ in bench.rounds("loops"):
        for way, (direct, above, below) in WAYS.items():
            made = ["m"]
            # A loop device opens its file, which keeps the value of that moment.
            read_ahead(disk, below)
            layers = loops(LAYERS, direct)
            device = bench.create("m", table_of(bench, layers, made))
            read_ahead(device, above)
            run("mount", "-t", "ext4", "-o", "ro", device, IMAGE)
            measure(bench, way, disk, "order", lists["list"], 0)
            reads = int(8000 * bench.plan["seconds"])
            measure(bench, way, disk, "rand-4k", lists["list-large"], reads)
            run("umount", IMAGE)
            bench.remove(*made)
            run("losetup", "--detach", *layers.values())
    run("umount", DISK)
    disks.close()
    disks.end()


GROUPS = {"loops": group_loops}
