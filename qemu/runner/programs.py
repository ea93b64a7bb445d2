# SPDX-License-Identifier: GPL-2.0
"""The programs of a guest, with the libraries they need. They come from sets (qemu/packages)."""

import shutil

from .host import QEMU, Failure, output_of, programs
from .kernels import AMD64, ARM64

# Programs that the guest has with their libraries; busybox has the rest. The programs that check
# devices are the real ones. busybox needs no libraries, so it starts four times as fast on the
# debugging kernel. dash is the shell: the shell of busybox prefers its applets to these programs,
# as does each applet that starts a program (setsid, env, xargs). bash is for the prompt.
PROGRAMS = """
    dmsetup losetup mount umount blockdev dd cmp truncate setsid setpriv env xargs timeout
    dash bash udevadm crun
""".split()

# The rules that udev applies to a dm device and to the devices below it. Cases start udevd.
UDEV_RULES = """
    50-udev-default 55-dm 60-block 60-persistent-storage 60-persistent-storage-dm
    95-dm-notify
""".split()

# The programs by which the guest of one of Debian's kernels loads modules and installs the package.
PACKAGE_PROGRAMS = """
    modprobe insmod rmmod modinfo lsmod depmod dpkg dpkg-deb dpkg-query dpkg-split
    dpkg-trigger tar rm diff ldconfig start-stop-daemon
""".split()

# The programs for images in a registry, in the guest of one of Debian's kernels: the registry, what
# serves a layer as a block device, what attaches that, what uploads, what slows the network, and
# what makes a file system of programs.
NETWORK_PROGRAMS = "nbdkit nbd-client curl docker-registry ip tc mke2fs".split()
# The plugin and the filters that nbdkit opens by their paths.
NBDKIT = """
    plugins/nbdkit-curl-plugin filters/nbdkit-log-filter filters/nbdkit-truncate-filter
    filters/nbdkit-delay-filter filters/nbdkit-rate-filter filters/nbdkit-stats-filter
    filters/nbdkit-error-filter filters/nbdkit-retry-filter filters/nbdkit-retry-request-filter
""".split()

# systemd for cases that need it as init (cases.service).
SYSTEMD_PROGRAMS = """
    usr/lib/systemd/systemd usr/lib/systemd/systemd-executor usr/bin/systemctl usr/bin/systemd-run
""".split()

TRIPLETS = {AMD64: "x86_64-linux-gnu", ARM64: "aarch64-linux-gnu"}


class Programs:
    """The set of programs of a guest, whose files are of the guest's architecture."""

    def __init__(self, kernel):
        own = kernel.architecture == AMD64 and not kernel.stock
        self.folder = programs("vm" if own else f"guest-{kernel.architecture}")
        self.libraries = self.folder / "usr/lib" / TRIPLETS[kernel.architecture]
        self.needs = {}

    def path(self, name):
        """The path of a program in the set. A link counts as its target."""
        for folder in ("usr/sbin", "usr/bin"):
            if (path := self.folder / folder / name).exists():
                return path
        raise Failure(f"{name} is not among the programs in {self.folder}")

    def needed(self, file):
        """The loader and the libraries that a program or library names, as pairs: the path that it
        opens, and the path in the set."""
        if file not in self.needs:
            vm = programs("vm")
            patchelf = [
                vm / "usr/lib64/ld-linux-x86-64.so.2",
                "--library-path",
                vm / "usr/lib/x86_64-linux-gnu",
                vm / "usr/bin/patchelf",
            ]
            found = []
            for name in (output_of([*patchelf, "--print-needed", file]) or "").split():
                # udevadm names the second folder.
                for folder in (self.libraries, self.libraries / "systemd"):
                    if (folder / name).exists():
                        found.append(((folder / name).relative_to(self.folder), folder / name))
                        break
                else:
                    raise Failure(
                        f"{file} needs the library {name}, which is not in {self.libraries}"
                    )
            self.needs[file] = found
        return self.needs[file]

    def add(self, root, source, target):
        """Copies a program to `target` in the guest's root, with its libraries and their loader."""
        target = root / target
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return
        shutil.copy(source, target)
        for name, path in self.needed(source):
            self.add(root, path, name)

    def add_loader(self, root):
        """Copies the loader to the path that programs name."""
        for name in ("usr/lib64/ld-linux-x86-64.so.2", "usr/lib/ld-linux-aarch64.so.1"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, root / name)


def add_programs(root, kernel):
    """Copies all programs of a guest to its root."""
    found = Programs(kernel)
    names = PROGRAMS + (PACKAGE_PROGRAMS + NETWORK_PROGRAMS if kernel.stock else [])
    for name in names:
        path = found.path(name)
        found.add(root, path, path.relative_to(found.folder))
    for name in NBDKIT if kernel.stock else []:
        path = found.libraries / "nbdkit" / f"{name}.so"
        found.add(root, path, path.relative_to(found.folder))
    found.add_loader(root)
    (root / "usr/bin/sh").symlink_to("dash")
    for folder in ("usr/lib/systemd", "usr/lib/udev/rules.d"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "usr/lib/systemd/systemd-udevd").symlink_to("/usr/bin/udevadm")
    for name in UDEV_RULES:
        shutil.copy(
            found.folder / f"usr/lib/udev/rules.d/{name}.rules", root / "usr/lib/udev/rules.d"
        )
    shutil.copy(found.path("busybox"), root / "usr/bin/busybox")
    for applet in applets(kernel):
        if not any((root / folder / applet).exists() for folder in ("usr/bin", "usr/sbin")):
            (root / "usr/bin" / applet).symlink_to("busybox")


def add_systemd(root, kernel):
    """Makes systemd the init of a guest of one of Debian's kernels. Of its units it has the targets
    and slices, which start no service."""
    if not kernel.stock:
        raise Failure(f"systemd runs on Debian's kernels, not on {kernel.name}")
    found = Programs(kernel)
    for name in SYSTEMD_PROGRAMS:
        found.add(root, found.folder / name, name)
    units = root / "usr/lib/systemd/system"
    units.mkdir()
    for pattern in ("*.target", "*.slice"):
        for path in (found.folder / "usr/lib/systemd/system").glob(pattern):
            shutil.copy(path, units)
    shutil.copy(QEMU / "cases.service", units)
    # Without one systemd takes each boot for the first.
    (root / "etc/machine-id").write_text(f"{1:032x}\n")


def applets(kernel):
    """The applets of busybox. The host cannot run the guest's arm64 busybox; the amd64 one of the
    same release has the same applets."""
    busybox = (
        programs("guest-amd64" if kernel.stock or kernel.architecture != AMD64 else "vm")
        / "usr/bin/busybox"
    )
    return output_of([busybox, "--list"]).split()
