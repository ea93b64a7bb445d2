# SPDX-License-Identifier: GPL-2.0
"""The lower devices that hold the images."""

import os
import re

from system import drop_caches, run


class Disks:
    """Ramdisks, one for each image that is in use."""

    def __init__(self, images):
        self.images = images
        self.free = sorted(
            (f"/dev/{name}" for name in os.listdir("/dev") if re.fullmatch(r"ram\d+", name)),
            key=lambda path: int(path[8:]),
        )
        self.used = {}

    def get(self, name):
        """The ramdisk with that image."""
        if name not in self.used:
            if not self.free:
                raise RuntimeError("there are too few ramdisks for this group")
            device = self.free.pop(0)
            # Direct I/O: through the page cache the guest would hold each image twice.
            run(
                "dd",
                f"if={self.images[name]['path']}",
                f"of={device}",
                "bs=4M",
                "oflag=direct",
                "status=none",
            )
            self.used[name] = device
            drop_caches()
        return self.used[name]

    def release(self, keep=()):
        """Empties all ramdisks except those of `keep`."""
        for name in [name for name in self.used if name not in keep]:
            device = self.used.pop(name)
            run("blkdiscard", "-f", device)
            self.free.insert(0, device)
