# SPDX-License-Identifier: GPL-2.0
"""What all groups of measurements share: samples, modules, targets and readers."""

import json
import os
import re
import subprocess
import time

from disks import Disks
from system import MIB, SECTOR, cpu_times, run


class Bench:
    """The state that all groups share: the plan, the disks and the loaded module."""

    def __init__(self, plan):
        self.plan = plan
        self.images = plan["images"]
        self.errors = re.compile(plan["errors"])
        self.disks = Disks(self.images)
        self.loaded = None
        self.round = 0

    # --- samples ---

    def sample(self, case, contender, value, unit, **more):
        line = {
            "case": case,
            "contender": contender,
            "round": self.round,
            "value": value,
            "unit": unit,
            **more,
        }
        print("SAMPLE", json.dumps(line), flush=True)

    def rounds(self, label, most=None):
        """The rounds of the plan, or the first `most` of them."""
        count = min(self.plan["rounds"], most or self.plan["rounds"])
        for self.round in range(count):
            print(f"PROGRESS {label}: round {self.round + 1} of {count}", flush=True)
            yield self.round

    def complain(self):
        """Prints the errors in the kernel log, and empties the log."""
        for line in run("dmesg", "-c").splitlines():
            if os.environ.get("BENCH_TRACE"):
                print(line, flush=True)
            if self.errors.search(line):
                print(f"KERNEL {line}", flush=True)

    # --- modules and devices ---

    def module(self, contender, *parameters):
        """Loads the module of this name with these parameters, and unloads any other."""
        want = (contender, parameters) if contender else None
        if self.loaded == want:
            return
        if self.loaded:
            run("rmmod", self.plan["modules"][self.loaded[0]]["name"])
            self.loaded = None
        if want:
            run("insmod", self.plan["modules"][contender]["path"], *parameters)
            self.loaded = want

    def contenders(self):
        """Our module, and the baseline if there is one."""
        return list(self.plan["modules"])

    def create(self, name, table):
        run("dmsetup", "create", name, "-r", "--table", table)
        return f"/dev/mapper/{name}"

    def remove(self, *names):
        for name in names:
            for _ in range(50):
                if (
                    subprocess.run(
                        ["dmsetup", "remove", name], stderr=subprocess.DEVNULL, check=False
                    ).returncode
                    == 0
                ):
                    break
                time.sleep(0.02)
            else:
                run("dmsetup", "remove", name)

    def zfile_table(self, image):
        facts = self.images[image]
        return (
            f"0 {facts['content'] // SECTOR} zfile_target {self.disks.get(image)} {facts['bytes']}"
        )

    def check(self, contender, device, image, disk=None):
        """Compares the start of the device with the image, which is on a ramdisk or on `disk`: a
        figure for other content is void."""
        span = min(32 * MIB, self.images[image]["bytes"] // MIB * MIB)
        want, found = (
            run(self.plan["blkcheck"], "hash", path, "--bytes", str(span)).split()[0]
            for path in (disk or self.disks.get(image), device)
        )
        if want != found:
            raise RuntimeError(f"{contender} reads something else than {image}")

    def status(self, name):
        """The fields of a target's status that have the form NAME NUMBER."""
        return {
            key: int(value)
            for key, value in re.findall(r"(\w+) (\d+)", run("dmsetup", "status", name))
        }

    def read_files(self, paths, readers, reads=0):
        """Reads these files in the kernel, whole or at random. Returns bytes, reads, ns, CPU s."""
        module = self.plan["files"]
        self.complain()
        before = cpu_times()
        run(
            "insmod",
            module["path"],
            f"list={paths}",
            f"threads={readers}",
            f"reads={reads}",
            f"seed={self.round + 1}",
        )
        after = cpu_times()
        run("rmmod", module["name"])
        found = re.search(r"overlaybd-bench: (\d+) (\d+) (\d+)", run("dmesg"))
        done = dict(zip(("bytes", "reads", "ns"), map(int, found.groups())))
        done["cpu"] = after[0] - before[0]
        return done

    def decompress(self, sample, threads):
        """MB/s of each decompressor of the kernel module, over the blocks of a ZFile."""
        module = self.plan["decompress"]
        self.complain()
        run(
            "insmod",
            module["path"],
            f"path={sample['path']}",
            f"blocks={sample['blocks']}",
            f"block_size={sample['block_size']}",
            f"zstd={int(sample['zstd'])}",
            f"threads={threads}",
            "rounds=1",
        )
        run("rmmod", module["name"])
        return {
            contender: int(size) / int(ns) * 1e3
            for contender, size, ns in re.findall(
                r"overlaybd-bench: (\w+) \d+ (\d+) (\d+)", run("dmesg")
            )
        }

    # --- readers ---

    def reader(self, *args):
        return json.loads(run(self.plan["reader"], *[str(arg) for arg in args]))

    def bandwidth(self, case, contender, *args):
        done = self.reader(*args)
        self.sample(
            case,
            contender,
            done["bytes"] / done["ns"] * 1e3,
            "MB/s",
            cpu_per_gib=done["cpu"] / (done["bytes"] / (1 << 30)),
        )

    def rate(self, case, contender, *args):
        """Reports the reads in a second, and returns them."""
        done = self.reader(*args)
        rate = done["reads"] / done["ns"] * 1e9
        self.sample(
            case,
            contender,
            rate,
            "reads/s",
            cpu_per_gib=done["cpu"] / (done["bytes"] / (1 << 30)),
        )
        return rate

    def cells(self, prefix, contender, device, limit):
        """Reads a device in six ways: sequentially and at random, with one reader and with two."""
        seconds = self.plan["seconds"]
        for readers in (1, 2):
            common = ("--readers", readers, "--limit", limit)
            # Enough to time a fast device: all of it, or in a quick run a part.
            self.bandwidth(
                f"{prefix}seq-1m-{readers}",
                contender,
                "device",
                device,
                "--bytes",
                MIB,
                "--total",
                self.plan["sequential"],
                *common,
            )
            common += ("--seconds", seconds, "--seed", self.round + 1)
            self.rate(
                f"{prefix}rand-4k-{readers}", contender, "device", device, "--bytes", 4096, *common
            )
            self.bandwidth(
                f"{prefix}rand-128k-{readers}",
                contender,
                "device",
                device,
                "--bytes",
                128 << 10,
                *common,
            )
