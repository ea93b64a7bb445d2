# SPDX-License-Identifier: GPL-2.0
"""The root disk of a guest.

Everything on it comes from sets of programs, prepared kernels and this repository, nothing from the
host.
"""

import os
import shutil
import subprocess
from pathlib import Path

from .debian import add_debian, make_initramfs
from .host import BUILD, QEMU, TOP, programs
from .kernels import AMD64, ARM64
from .manifest import add_images
from .programs import Programs, add_programs, add_systemd


def tools(kernel):
    """The binaries of tests/tools for the guest. make has built them in release mode."""
    names = [path.stem for path in sorted((TOP / "tests/tools/src/bin").glob("*.rs"))]
    triple = {AMD64: "x86_64", ARM64: "aarch64"}[kernel.architecture] + "-unknown-linux-gnu"
    folder = Path(os.environ.get("CARGO_TARGET_DIR") or TOP / "target") / triple / "release"
    return [path for path in (folder / name for name in names) if path.exists()]


def overlaybdsetup(kernel, faults):
    """The overlaybdsetup that make has built: the users' one, or the one with faults for cases."""
    folder = (
        BUILD / ("faults" if faults else "") / ("arm64" if kernel.architecture == ARM64 else "")
    )
    return folder / "overlaybdsetup"


def make_root(
    kernel,
    work,
    module=None,
    images=None,
    extra=(),
    whole_sectors=False,
    canary=None,
    faults=False,
    systemd=False,
):
    """Creates the guest's root file system as a disk image and returns its path.

    module         a module or, for one of Debian's kernels, a package with one
    extra          pairs of a name and a text, more files for the guest's folder /overlaybd
    whole_sectors  pads the images to whole sectors
    canary         a module that leaks
    faults         takes the overlaybdsetup with faults, if that is there
    systemd        adds systemd, which then is the init
    """
    root = work / "root"
    make_folders(root)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/mtab").symlink_to("/proc/mounts")
    # Without the second file the C library asks a name server for localhost first.
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files\n")
    add_programs(root, kernel)
    if systemd:
        add_systemd(root, kernel)

    inside = root / "overlaybd"
    (inside / "tools").mkdir(parents=True)
    shutil.copy(QEMU / "init", root / "usr/sbin/overlaybd-init")
    shutil.copy(QEMU / "demo.sh", inside / "demo.sh")
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
    for name, content in extra:
        (inside / name).write_text(content)

    # Half as much again for the metadata of the file system, and room for what cases write.
    return make_disk(work, root, lambda size: size * 3 // 2 + (512 << 20))


def make_folders(root):
    """Creates the folders that every root has."""
    for folder in """
        usr/bin usr/sbin usr/lib usr/lib64 dev proc sys run tmp var/tmp mnt root etc
    """.split():
        (root / folder).mkdir(parents=True)
    for link in "bin sbin lib lib64".split():
        (root / link).symlink_to("usr/" + link)


def add_container(disk, kernel, work):
    """Creates a file system of 16 MiB with a journal and a static busybox, for an image of it."""
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


def make_disk(work, root, room):
    """Creates the disk of a root, which it removes, and returns its path. `room` maps the bytes of
    all files to those of the disk."""
    disk = work / "root.img"
    with open(disk, "wb") as file:
        file.truncate(room(sum(path.lstat().st_size + 4096 for path in root.rglob("*"))) & ~4095)
    make_ext4(disk, root)
    shutil.rmtree(root)
    return disk


def make_ext4(disk, root, journal=False):
    """Creates an ext4 of a folder in a file of the right size."""
    subprocess.run(
        [
            programs("vm") / "usr/sbin/mke2fs",
            "-q",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-O",
            "has_journal" if journal else "^has_journal",
            "-E",
            "lazy_itable_init=1,root_owner=0:0",
            "-d",
            root,
            disk,
        ],
        check=True,
    )


def make_disks(kernel, work, *args, **kwargs):
    """Creates the root disk of a guest, and its initramfs if the kernel needs one; else None."""
    return make_root(kernel, work, *args, **kwargs), (
        make_initramfs(kernel, work) if kernel.stock else None
    )
