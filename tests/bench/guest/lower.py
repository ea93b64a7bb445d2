# SPDX-License-Identifier: GPL-2.0
"""Lower devices of other kinds than ramdisks: loop devices, and disks with a speed."""

import os

from disks import fill
from system import run

CONFIGFS = "/sys/kernel/config"


class Ramdisks:
    """The ramdisks themselves."""

    def __init__(self, bench, names):
        self.bench, self.names = bench, names

    def open(self, _):
        """The devices by the names of their images."""
        return {name: self.bench.disks.get(name) for name in self.names}

    def close(self):
        """Leaves the ramdisks as they are until `end`."""

    def end(self):
        self.bench.disks.release()


class Loops:
    """Loop devices over files, each on an ext4 of its own on a ramdisk."""

    def __init__(self, bench, names):
        self.bench = bench
        self.files = {name: bench.disks.file(name) for name in names}
        self.made = []

    def open(self, settings):
        direct = "on" if settings.get("direct") else "off"
        devices = {}
        for name, path in self.files.items():
            device = run("losetup", "--find", "--show", "-r", f"--direct-io={direct}", path).strip()
            self.made.append(device)
            devices[name] = device
            # Without the mode that was asked for, a figure would be that of another device.
            found = run("losetup", "--noheadings", "--output", "DIO", device).strip()
            if found != str(int(direct == "on")):
                raise RuntimeError(f"{device} over {path} does not do direct I/O: {direct}")
        return devices

    def close(self):
        for device in self.made:
            run("losetup", "--detach", device)
        self.made = []

    def end(self):
        self.bench.disks.release()


class NullDisks:
    """null_blk's disks, which keep their content in memory, also while they are switched off."""

    # The attributes that all of them have. One queue: with more, a soft interrupt ends no read that
    # its own CPU started. Short requests: the limit of the bandwidth is a number of bytes for each
    # 20 ms, and a request that does not fit into the rest of it waits, and the rest is lost.
    COMMON = {
        "memory_backed": 1,
        "blocksize": 512,
        "submit_queues": 1,
        "hw_queue_depth": 256,
        "max_sectors": 128,
    }

    def __init__(self, bench, names):
        if not os.path.isdir(f"{CONFIGFS}/nullb"):
            run("mount", "-t", "configfs", "configfs", CONFIGFS)
        self.folders = {}
        for number, name in enumerate(names):
            folder = self.folders[name] = f"{CONFIGFS}/nullb/bench{number}"
            os.mkdir(folder)
            image = bench.images[name]
            self.set(folder, **self.COMMON, size=-(-image["bytes"] // (1 << 20)))
            self.set(folder, irqmode=0, power=1)
            fill(image["path"], self.device(folder))
            self.set(folder, power=0)

    @staticmethod
    def set(folder, **attributes):
        for name, value in attributes.items():
            with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                file.write(str(value))

    @staticmethod
    def device(folder):
        return f"/dev/{os.path.basename(folder)}"

    def open(self, settings):
        for folder in self.folders.values():
            self.set(folder, **settings, power=1)
        return {name: self.device(folder) for name, folder in self.folders.items()}

    def close(self):
        for folder in self.folders.values():
            self.set(folder, power=0)

    def end(self):
        for folder in self.folders.values():
            os.rmdir(folder)


KINDS = {"ramdisk": Ramdisks, "loop": Loops, "null_blk": NullDisks}
