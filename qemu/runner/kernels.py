# SPDX-License-Identifier: GPL-2.0
"""Prepared kernels. It prepares none.

A kernel of the project (qemu/kernel) has everything it needs built in. One of Debian's (qemu/stock)
has an initramfs and modules.
"""

import gzip
import re
from pathlib import Path

from .host import QEMU, Failure, output_of

ARM64 = "arm64"
AMD64 = "amd64"

# The file in a build folder that QEMU boots.
IMAGES = {AMD64: "arch/x86/boot/bzImage", ARM64: "arch/arm64/boot/Image"}

OWN = ("plain", "debug", "in-tree", "arm64-64k")


class Kernel:
    """A kernel that can be booted.

    name          its name in messages
    architecture  in Debian's terms
    image         the file that QEMU boots
    build         the folder the module is built against
    release       of a kernel of Debian's, what `uname -r` prints; else None
    folder        of a kernel of Debian's, its folder by qemu/stock; else None
    """

    def __init__(self, name, build, architecture, image, release=None, folder=None):
        self.name = name
        self.build = build
        self.architecture = architecture
        self.image = image
        self.release = release
        self.folder = folder

    @classmethod
    def prepared(cls, name):
        """The kernel that qemu/kernel or qemu/stock has prepared under that name."""
        script = "kernel" if name in OWN else "stock"
        found = output_of([QEMU / script, name, "--print-dir"])
        if found is None:
            raise Failure(f"there is no prepared kernel {name}: run `qemu/{script} {name}`")
        folder = Path(found)
        if name in OWN:
            return cls.built(folder, name)
        release = (folder / "release").read_text().strip()
        root = folder / "root"
        if not root.is_dir():
            raise Failure(f"the image of {release} is not there: run `qemu/stock {name} --boot`")
        architecture = ARM64 if "arm64" in release else AMD64
        image = root / "usr/lib/modules" / release / "vmlinuz"
        return cls(f"{name} ({release})", folder / "build", architecture, image, release, folder)

    @classmethod
    def built(cls, folder, name=None):
        """The kernel that was built in this folder."""
        for architecture, image in IMAGES.items():
            if (folder / image).is_file():
                return cls(name or str(folder), folder, architecture, folder / image)
        raise Failure(
            f"no {' or '.join(IMAGES.values())} in {folder}: a guest boots only a kernel that was "
            "built in its folder"
        )

    @property
    def stock(self):
        """Whether it is one of Debian's."""
        return self.folder is not None

    def option(self, option):
        """Whether a configuration option is set, to built in or to module."""
        return (
            re.search(rf"^{option}=[ym]$", (self.build / ".config").read_text(), re.M) is not None
        )

    @property
    def page_kib(self):
        """The size of its pages in KiB."""
        return next((size for size in (16, 64) if self.option(f"CONFIG_ARM64_{size}K_PAGES")), 4)

    def bootable(self, work):
        """The image in a form that QEMU boots: for arm64 uncompressed."""
        data = self.image.read_bytes() if self.architecture == ARM64 else b""
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        elif data[:2] == b"MZ" and data[4:8] == b"zimg":
            # An EFI program that decompresses the kernel. Its header says where the kernel is.
            start, length = (int.from_bytes(data[at : at + 4], "little") for at in (8, 12))
            if data[24:28] != b"gzip":
                raise Failure(f"{self.image} is packed by a method that is not known here")
            data = gzip.decompress(data[start : start + length])
        else:
            return self.image
        path = work / "Image"
        path.write_bytes(data)
        return path
