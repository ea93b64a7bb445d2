# SPDX-License-Identifier: GPL-2.0
"""What a guest gets: its root disk with programs, the module and the images; an initramfs where the kernel needs one.

Everything comes from sets of programs (qemu/packages), prepared kernels and this repository, nothing from the
machine. It boots nothing and judges nothing.
"""

import gzip
import json
import lzma
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from machine import AMD64, ARM64, HERE, Failure, output_of, programs, say

TOP = HERE.parent
FIXTURES = TOP / "tests/fixtures"

# Programs the guest gets, with the libraries they need; busybox has the rest. Those that show the devices to be what
# they should are the real ones; for anything else busybox starts four times as fast on the debugging kernel, having
# no libraries. dash is the shell, because busybox's own prefers its applets to the programs here, and so does every
# applet that starts a program (setsid, env, xargs); bash is for the prompt.
PROGRAMS = ["dmsetup", "losetup", "mount", "umount", "blockdev", "dd", "cmp", "truncate",
            "setsid", "setpriv", "env", "xargs", "timeout", "dash", "bash", "udevadm", "crun"]

# What udev does with a dm device and what it stands on. udevd is not started by itself: cases do that.
UDEV_RULES = ["50-udev-default", "55-dm", "60-block", "60-persistent-storage", "60-persistent-storage-dm", "95-dm-notify"]

# With these the guest of one of Debian's kernels loads modules and installs the package.
PACKAGE_PROGRAMS = ["modprobe", "insmod", "rmmod", "modinfo", "lsmod", "depmod", "dpkg", "dpkg-deb", "dpkg-query",
                    "dpkg-split", "dpkg-trigger", "tar", "rm", "diff", "ldconfig", "start-stop-daemon"]

# Modules that find the root disk and mount it, and those that cases use or that the project's kernels have built in.
# What one of Debian's kernels has built in, or not at all, is passed over.
BOOT_MODULES = ["virtio_pci", "virtio_blk", "virtio_rng", "ext4"]
MODULES = ["configfs", "dm_mod", "loop", "brd", "null_blk"]
MORE_MODULES = ["dm_verity", "dm_snapshot", "dm_flakey", "dm_delay", "dm_dust", "dm_zero", "dm_era", "dm_crypt",
                "erofs", "squashfs", "overlay"]

TRIPLETS = {AMD64: "x86_64-linux-gnu", ARM64: "aarch64-linux-gnu"}


# --- programs ---------------------------------------------------------------------------------------


class Programs:
    """The programs of a guest: a set, whose files are of the guest's architecture."""

    def __init__(self, kernel):
        own = kernel.architecture == AMD64 and not kernel.stock
        self.folder = programs("vm" if own else f"guest-{kernel.architecture}")
        self.libraries = self.folder / "usr/lib" / TRIPLETS[kernel.architecture]
        self.needs = {}

    def path(self, name):
        """Where a program is in the set; a link stands for what it leads to."""
        for folder in ("usr/sbin", "usr/bin"):
            if (path := self.folder / folder / name).exists():
                return path
        raise Failure(f"{name} is not among the programs in {self.folder}")

    def needed(self, file):
        """The loader and the libraries that a program or a library names, as pairs of where it looks for them and
        where they are."""
        if file not in self.needs:
            vm = programs("vm")
            patchelf = [vm / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", vm / "usr/lib/x86_64-linux-gnu",
                        vm / "usr/bin/patchelf"]
            found = []
            for name in (output_of([*patchelf, "--print-needed", file]) or "").split():
                # udevadm names the second folder.
                for folder in (self.libraries, self.libraries / "systemd"):
                    if (folder / name).exists():
                        found.append(((folder / name).relative_to(self.folder), folder / name))
                        break
                else:
                    raise Failure(f"{file} needs the library {name}, which is not in {self.libraries}")
            self.needs[file] = found
        return self.needs[file]

    def add(self, root, source, target):
        """Copies a program to `target` in the guest's root, with the libraries it needs and their loader."""
        target = root / target
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return
        shutil.copy(source, target)
        for name, path in self.needed(source):
            self.add(root, path, name)

    def add_loader(self, root):
        """The loader, where programs look for it."""
        for name in ("usr/lib64/ld-linux-x86-64.so.2", "usr/lib/ld-linux-aarch64.so.1"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, root / name)


def add_programs(root, kernel):
    found = Programs(kernel)
    names = PROGRAMS + (PACKAGE_PROGRAMS if kernel.stock else [])
    for name in names:
        path = found.path(name)
        found.add(root, path, path.relative_to(found.folder))
    found.add_loader(root)
    (root / "usr/bin/sh").symlink_to("dash")
    for folder in ("usr/lib/systemd", "usr/lib/udev/rules.d"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "usr/lib/systemd/systemd-udevd").symlink_to("/usr/bin/udevadm")
    for name in UDEV_RULES:
        shutil.copy(found.folder / f"usr/lib/udev/rules.d/{name}.rules", root / "usr/lib/udev/rules.d")
    shutil.copy(found.path("busybox"), root / "usr/bin/busybox")
    for applet in applets(kernel):
        if not any((root / folder / applet).exists() for folder in ("usr/bin", "usr/sbin")):
            (root / "usr/bin" / applet).symlink_to("busybox")


def applets(kernel):
    """What busybox can do. The guest's own can only be asked where it runs; those of one release can do the same."""
    busybox = programs("guest-amd64" if kernel.stock or kernel.architecture != AMD64 else "vm") / "usr/bin/busybox"
    return output_of([busybox, "--list"]).split()


# --- images -----------------------------------------------------------------------------------------


def image_source():
    """The full set of reference images if it is at hand, else the fixtures of the repository."""
    given = os.environ.get("OVERLAYBD_IMAGES")
    for folder in [given] if given else [TOP / "../shared/images", FIXTURES]:
        if (Path(folder) / "manifest.json").is_file():
            return Path(folder).resolve()
    raise Failure(f"no images: neither ../shared/images nor {FIXTURES} holds a manifest.json")


def say_which(images):
    """Names the set of images: which one it is decides what cases can check."""
    manifest = json.loads((images / "manifest.json").read_text())
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in manifest.items() if isinstance(rows, list))
    which_set = "the part of the set that the repository has" if images == FIXTURES else "the set in " + str(images)
    say(f"images: {which_set} ({counts})")


def add_images(source, target, whole_sectors):
    """Copies the images, unpacking those that are kept compressed, and tabulates the manifest. A loop
    device ends at the last whole sector of its file: with whole_sectors the copies end with one."""
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_dir():
            (target / relative).mkdir(exist_ok=True)
        elif path.suffix == ".xz":
            with lzma.open(path) as packed, open(target / relative.with_suffix(""), "wb") as plain:
                shutil.copyfileobj(packed, plain)
        else:
            shutil.copyfile(path, target / relative)
    manifest = json.loads((target / "manifest.json").read_text())
    for entry in (entry for table in manifest.values() if isinstance(table, list) for entry in table):
        for name in [entry["file"]] if "file" in entry else entry.get("layers", []):
            if not (target / name).is_file():
                raise Failure(f"{name} is in the manifest of {source} and not in that folder")
    # The lengths they have by themselves.
    lengths = {path: path.stat().st_size for path in target.rglob("*") if path.is_file() and path.suffix != ".json"}
    for path, length in lengths.items():
        if whole_sectors:
            os.truncate(path, length + 511 & ~511)

    def text(value):
        if value is None:
            return "-"
        if isinstance(value, bool):
            return "true" if value else "false"
        return ",".join(value) if isinstance(value, list) else str(value)

    tables = {
        "zfiles": "file container payload_offset payload_bytes algo block_size verify header_overwritten "
                  "content_bytes content_sha256",
        "layers": "file container payload_offset payload_bytes zfile algo block_size verify header_overwritten "
                  "content_bytes",
        "stacks": "virtual_size sha256 merged_segments layers",
        "malformed": "file kind bytes want reference_reader content_bytes content_sha256",
    }
    for name, columns in tables.items():
        # How many rows there are: a case that is to run all compares.
        (target / f"{name}.rows").write_text(f"{len(manifest.get(name, []))}\n")
        with open(target / f"{name}.tsv", "w", encoding="utf-8") as table:
            for entry in manifest.get(name, []):
                print("\t".join(text(entry.get(column)) for column in columns.split()), file=table)
                # The same for `about`: a shell reads one file sooner than it starts a program.
                if "file" in entry:
                    about = target / "about" / name / entry["file"]
                    about.parent.mkdir(parents=True, exist_ok=True)
                    about.write_text("".join(f"of_{column}={shlex.quote(text(entry.get(column)))}\n"
                                             for column in columns.split()) +
                                     f"of_file_bytes={lengths[target / entry['file']]}\n")


# --- Debian's kernels -------------------------------------------------------------------------------


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
        """These modules with all they need, each behind what it needs. Names without a module are passed over."""
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
        """The module as the kernel loads it by itself."""
        data = (self.folder / self.files[name]).read_bytes()
        return lzma.decompress(data) if self.files[name].endswith(".xz") else data


def make_initramfs(kernel, work):
    """An archive with busybox, the modules that the root disk needs, and a script that loads them."""
    modules = Modules(kernel)
    names = modules.closure(BOOT_MODULES)
    files = {"init": (HERE / "initramfs-init").read_bytes(),
             "bin/busybox": (programs(f"guest-{kernel.architecture}") / "usr/bin/busybox").read_bytes(),
             "modules": "".join(f"{name}.ko\n" for name in names).encode()}
    files |= {f"{name}.ko": modules.unpacked(name) for name in names}
    folders = ["bin", "dev", "proc", "root"]
    with gzip.open(work / "initramfs", "wb", compresslevel=1) as archive:
        entries = [(name, 0o040755, b"") for name in folders] + [(name, 0o100755, data) for name, data in files.items()]
        for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
            fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
            head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
            archive.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))
    return work / "initramfs"


def add_debian(root, kernel, package):
    """What makes the root a small Debian with that kernel: its modules, as far as they are used, what dpkg knows, and
    the package to install."""
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
    # The guest has this program, whatever dpkg of it is asked for.
    known += "Package: kmod\nStatus: install ok installed\nPriority: important\nSection: admin\n" \
             f"Maintainer: none <none@example.org>\nArchitecture: {kernel.architecture}\nVersion: 34\n" \
             "Description: programs of the guest\n\n"
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


# --- the root disk ----------------------------------------------------------------------------------


def tools(kernel):
    """The binaries of tests/tools for the guest, which make builds in release mode before it starts this."""
    names = [path.stem for path in sorted((TOP / "tests/tools/src/bin").glob("*.rs"))]
    triple = {AMD64: "x86_64", ARM64: "aarch64"}[kernel.architecture] + "-unknown-linux-gnu"
    folder = Path(os.environ.get("CARGO_TARGET_DIR") or TOP / "target") / triple / "release"
    return [path for path in (folder / name for name in names) if path.exists()]


def overlaybdsetup(kernel, faults):
    """overlaybdsetup as make has built it: as users have it, or with faults that cases can ask for."""
    folder = TOP / "build" / ("faults" if faults else "") / ("arm64" if kernel.architecture == ARM64 else "")
    return folder / "overlaybdsetup"


def make_root(kernel, work, module=None, images=None, extra=(), whole_sectors=False, canary=None, faults=False):
    """Makes the guest's root file system as a disk image and returns its path. `module` is a module or, for one of
    Debian's kernels, a package with one. `faults` says which overlaybdsetup the guest gets, if that one is there."""
    root = work / "root"
    for folder in "usr/bin usr/sbin usr/lib usr/lib64 dev proc sys run tmp mnt root etc overlaybd/tools".split():
        (root / folder).mkdir(parents=True)
    for link in "bin sbin lib lib64".split():
        (root / link).symlink_to("usr/" + link)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/mtab").symlink_to("/proc/mounts")
    add_programs(root, kernel)

    inside = root / "overlaybd"
    shutil.copy(HERE / "init", root / "usr/sbin/overlaybd-init")
    shutil.copy(HERE / "demo.sh", inside / "demo.sh")
    shutil.copytree(TOP / "tests/vm", inside / "tests/vm")
    if kernel.stock and module:
        add_debian(root, kernel, Path(module))
    elif module:
        shutil.copy(module, inside / "dm-overlaybd.ko")
    if canary:
        shutil.copy(canary, inside / "canary.ko")
    if images:
        add_images(images, inside / "images", whole_sectors)
    for tool in tools(kernel):
        shutil.copy(tool, inside / "tools")
    if faults:
        add_container(inside / "rootfs.ext4", kernel, work)
    if (setup := overlaybdsetup(kernel, faults)).exists():
        shutil.copy(setup, root / "usr/sbin")
    for name, text in extra:
        (inside / name).write_text(text)

    size = sum(path.lstat().st_size + 4096 for path in root.rglob("*"))
    disk = work / "root.img"
    # Half as much again for the file system itself, and room for what cases write.
    with open(disk, "wb") as file:
        file.truncate(size * 3 // 2 + (512 << 20) & ~4095)
    make_ext4(disk, root)
    shutil.rmtree(root)
    return disk


def add_container(disk, kernel, work):
    """A file system with a journal, 16 MiB, whose root has a static busybox: cases make an image of it."""
    root = work / "container"
    (root / "bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "proc").mkdir()
    (root / "dev").mkdir()
    shutil.copy(Programs(kernel).path("busybox"), root / "bin")
    for applet in ("sh", "cat", "ls"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/name").write_text("overlaybd\n")
    with open(disk, "wb") as file:
        file.truncate(16 << 20)
    make_ext4(disk, root, journal=True)
    shutil.rmtree(root)


def make_ext4(disk, root, journal=False):
    """Makes an ext4 of a folder in a file of the right size."""
    subprocess.run([programs("vm") / "usr/sbin/mke2fs", "-q", "-t", "ext4", "-b", "4096",
                    "-O", "has_journal" if journal else "^has_journal",
                    "-E", "lazy_itable_init=1,root_owner=0:0", "-d", root, disk], check=True)


def make_disks(kernel, work, *args, **kwargs):
    """The root disk of a guest and its initramfs, if it has one."""
    return make_root(kernel, work, *args, **kwargs), make_initramfs(kernel, work) if kernel.stock else None
