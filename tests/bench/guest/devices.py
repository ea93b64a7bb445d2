# SPDX-License-Identifier: GPL-2.0
"""The group that reads a target on lower devices of many kinds, with several reads under way."""

import itertools

from lower import KINDS
from system import MIB, SECTOR, drop_caches

SIZES = {"seq-1m": MIB, "rand-4k": 4096, "rand-128k": 128 << 10}

# The images on a device of the kind. The hashes of dm-verity are always on a ramdisk.
IMAGES = ("ext4", "lz4-4k")


class Matrix:
    """Reads one device after the other in all ways, and samples them."""

    def __init__(self, bench):
        self.bench = bench
        self.plan = bench.plan["devices"]
        self.content = bench.images["ext4"]["bytes"]
        zfile = bench.images["lz4-4k"]
        self.by_size = zfile["content"] / zfile["bytes"]

    def tables(self, devices):
        """The contenders, with the table of each."""
        bench, sectors = self.bench, self.content // SECTOR
        zfile, verity = bench.images["lz4-4k"], bench.images["verity"]
        ours = f"0 {zfile['content'] // SECTOR} zfile_target {devices['lz4-4k']} {zfile['bytes']}"
        for contender in bench.contenders():
            yield contender, ours
        yield "linear", f"0 {sectors} linear {devices['ext4']} 0"
        yield "verity", (
            f"0 {sectors} verity 1 {devices['ext4']} {bench.disks.get('verity')} 4096 4096 "
            f"{sectors // 8} 0 sha256 {verity['root']} -"
        )

    def measure(self, kind, contender, device):
        """Reads a contender in all ways."""
        bench = self.bench
        for reads in kind["reads"]:
            if contender == "verity" and reads["name"] not in self.plan["verity"]:
                continue
            case = f"device-{kind['name']}-{reads['name']}"
            command = ["--bytes", SIZES[reads["pattern"]], "--limit", self.content]
            command += ["--readers", reads["readers"], "--depth", reads["depth"]]
            if reads["pattern"] == "seq-1m":
                command += ["--total", bench.plan["sequential"]]
            else:
                # The bandwidth of a slow disk is a number of bytes each 20 ms: count enough.
                part = 1 if kind["slow"] and reads["pattern"] == "rand-128k" else 0.25
                command += ["--seconds", bench.plan["seconds"] * part, "--seed", bench.round + 1]
            # A buffered loop device reads from its file, not from the page cache, at least once.
            if kind["kind"] == "loop":
                drop_caches()
            done = bench.reader("device", device, *command)
            rate, unit = done["bytes"] / done["ns"] * 1e3, "MB/s"
            if reads["pattern"] == "rand-4k":
                rate, unit = done["reads"] / done["ns"] * 1e9, "reads/s"
            cpu = done["cpu"] / (done["bytes"] / (1 << 30))
            bench.sample(case, contender, rate, unit, cpu_per_gib=cpu)
            if contender == "linear" and unit == "MB/s" and kind["slow"]:
                bench.sample(case, "linear-by-size", rate * self.by_size, unit)
            if reads["name"] == "seq-1m-1x1" and kind["name"] in self.plan["cpu"]:
                bench.sample(f"device-{kind['name']}-cpu", contender, cpu, "s/GiB")

    def turn(self, kind, devices):
        """One round: each contender once."""
        bench = self.bench
        for contender, table in self.tables(devices):
            if contender in bench.contenders():
                bench.module(contender)
            device = bench.create("d", table)
            if bench.round == 0:
                bench.check(contender, device, "ext4", devices["ext4"])
            self.measure(kind, contender, device)
            bench.remove("d")


def group_devices(bench):
    """A ZFile, dm-linear and dm-verity on lower devices of each kind."""
    matrix = Matrix(bench)
    for made, kinds in itertools.groupby(matrix.plan["kinds"], lambda kind: kind["kind"]):
        bench.disks.release()
        lower = KINDS[made](bench, IMAGES)
        for kind in kinds:
            devices = lower.open(kind["settings"])
            # There are many cases: three rounds show the spread.
            for _ in bench.rounds(kind["title"], 3):
                matrix.turn(kind, devices)
            lower.close()
        lower.end()


GROUPS = {"devices": group_devices}
