# SPDX-License-Identifier: GPL-2.0
"""The lower devices that hold the images."""

import os
import re

from system import MNT, drop_caches, run


def fill(path, device):
    """Writes an image to a device. Direct I/O: through the page cache the guest would hold each
    image twice."""
    run("dd", f"if={path}", f"of={device}", "bs=4M", "oflag=direct", "status=none")
    drop_caches()


class Disks:
    """Ramdisks, one for each image that is in use."""

    def __init__(self, images):
        self.images = images
        self.free = sorted(
            (f"/dev/{name}" for name in os.listdir("/dev") if re.fullmatch(r"ram\d+", name)),
            key=lambda path: int(path[8:]),
        )
        self.used = {}

    def take(self, name):
        """A free ramdisk, in use under this name from now on."""
        if not self.free:
            raise RuntimeError("there are too few ramdisks for this group")
        self.used[name] = self.free.pop(0)
        return self.used[name]

    def get(self, name):
        """The ramdisk with that image."""
        if name not in self.used:
            fill(self.images[name]["path"], self.take(name))
        return self.used[name]

    def file(self, name):
        """The image as a file, on an ext4 of its own on a ramdisk."""
        path = f"{MNT}/file-{name}"
        if path not in self.used:
            device = self.take(path)
            run(
                "mke2fs",
                "-q",
                "-F",
                "-t",
                "ext4",
                "-b",
                "4096",
                "-m",
                "0",
                "-N",
                "16",
                "-O",
                "^has_journal,^resize_inode",
                device,
            )
            os.makedirs(path, exist_ok=True)
            run("mount", "-t", "ext4", device, path)
            fill(self.images[name]["path"], f"{path}/{name}")
        return f"{path}/{name}"

    def release(self, keep=()):
        """Empties all ramdisks except those of `keep`."""
        for name in [name for name in self.used if name not in keep]:
            device = self.used.pop(name)
            if name.startswith("/"):
                run("umount", name)
            run("blkdiscard", "-f", device)
            self.free.insert(0, device)
