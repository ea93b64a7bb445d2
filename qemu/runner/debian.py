# SPDX-License-Identifier: GPL-2.0
"""What one of Debian's kernels needs besides: modules, an initramfs, and dpkg's database."""

import gzip
import lzma
import re
import shutil
from pathlib import Path

from .host import QEMU, programs

# Modules that the initramfs needs to mount the root disk. Here and below, a module that the kernel
# has built in, or does not have, is skipped.
BOOT_MODULES = ["virtio_pci", "virtio_blk", "virtio_rng", "ext4"]
# Modules that init loads, because the project's kernels have them built in.
MODULES = ["configfs", "dm_mod", "loop", "brd", "null_blk"]
# Modules that cases load.
MORE_MODULES = """
    dm_verity dm_snapshot dm_flakey dm_delay dm_dust dm_zero dm_era dm_crypt dm_integrity erofs
    squashfs overlay crc32c_cryptoapi nbd sch_netem
""".split()


class Modules:
    """The modules of one of Debian's kernels."""

    def __init__(self, kernel):
        self.folder = kernel.folder / "root/usr/lib/modules" / kernel.release
        self.files = {}
        self.after = {}
        for line in (self.folder / "modules.dep").read_text().splitlines():
            path, _, others = line.partition(":")
            name = self.name(path)
            self.files[name] = path
            self.after[name] = [self.name(other) for other in others.split()]
        for line in (self.folder / "modules.softdep").read_text().splitlines():
            words = line.split()
            if len(words) > 2 and words[0] == "softdep" and words[1] in self.files:
                wanted = [word for word in words[2:] if not word.endswith(":")]
                self.after[words[1]] += [name for name in wanted if name in self.files]

    @staticmethod
    def name(path):
        return Path(path).name.split(".")[0].replace("-", "_")

    def closure(self, names):
        """These modules and all that they depend on, each after its dependencies. Names without a
        module are skipped."""
        order = []

        def add(name):
            if name in self.files and name not in order:
                for other in self.after[name]:
                    add(other)
                order.append(name)

        for name in names:
            add(name)
        return order

    def unpacked(self, name):
        """The module, uncompressed, as insmod needs it."""
        data = (self.folder / self.files[name]).read_bytes()
        return lzma.decompress(data) if self.files[name].endswith(".xz") else data


def make_initramfs(kernel, work):
    """Creates an archive: busybox, the modules for the root disk, a script that loads them."""
    modules = Modules(kernel)
    names = modules.closure(BOOT_MODULES)
    files = {
        "init": (QEMU / "initramfs-init").read_bytes(),
        "bin/busybox": (programs(f"guest-{kernel.architecture}") / "usr/bin/busybox").read_bytes(),
        "modules": "".join(f"{name}.ko\n" for name in names).encode(),
    }
    files |= {f"{name}.ko": modules.unpacked(name) for name in names}
    folders = ["bin", "dev", "proc", "root"]
    with gzip.open(work / "initramfs", "wb", compresslevel=1) as archive:
        entries = [(name, 0o040755, b"") for name in folders] + [
            (name, 0o100755, data) for name, data in files.items()
        ]
        for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
            fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
            head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
            archive.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))
    return work / "initramfs"


def add_debian(root, kernel, package):
    """Turns the root into a small Debian with that kernel: copies the modules that are used, writes
    dpkg's database, and copies the package to install."""
    modules = Modules(kernel)
    target = root / "usr/lib/modules" / kernel.release
    for name in modules.closure(BOOT_MODULES + MODULES + MORE_MODULES):
        path = target / modules.files[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(modules.folder / modules.files[name], path)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(modules.folder / name, target)
    (root / "etc/modules").write_text("".join(f"{name}\n" for name in modules.closure(MODULES)))

    known = (kernel.folder / "packages").read_text()
    # The guest has the programs of kmod, in whatever version; dpkg must know of it.
    known += (
        "Package: kmod\nStatus: install ok installed\nPriority: important\nSection: admin\n"
        f"Maintainer: none <none@example.org>\nArchitecture: {kernel.architecture}\nVersion: 34\n"
        "Description: programs of the guest\n\n"
    )
    database = root / "var/lib/dpkg"
    for folder in ("info", "updates", "triggers", "alternatives", "parts"):
        (database / folder).mkdir(parents=True)
    (database / "status").write_text(known)
    (database / "info/format").write_text("1\n")
    (database / "arch").write_text(f"{kernel.architecture}\n")
    for name in re.findall(r"^Package: (\S+)$", known, re.M):
        (database / "info" / f"{name}.list").write_text("/.\n")
    (root / "var/log").mkdir()
    (root / "etc/dpkg").mkdir()
    shutil.copy(package, root / "overlaybd" / package.name)
