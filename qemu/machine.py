# SPDX-License-Identifier: GPL-2.0
"""What is booted: prepared kernels, and the machine of QEMU's that each is for.

A kernel of the project's (qemu/kernel) has all it needs built in and runs on the smallest machine there is; one of
Debian's own (qemu/stock) runs on an ordinary machine, with an initramfs and modules. This knows how both are started
and whether KVM can be used. It prepares no kernel, and does not know what a guest does.
"""

import ctypes
import functools
import gzip
import json
import mmap
import os
import re
import selectors
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dm-overlaybd"

# Seconds within which a guest shows whether it boots under KVM.
PROBE_LIMIT = 25


class Failure(Exception):
    """Something that ends the run, worded for the person who started it."""


def say(text):
    print(f"==> {text}", flush=True)


def output_of(command):
    """What a program prints; None when it fails."""
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return None if found.returncode else found.stdout.strip()


@functools.cache
def programs(name):
    """The folder of a set of programs (see qemu/packages)."""
    folder = output_of([HERE / "packages", "--print-dir", name])
    if folder is None:
        raise Failure(f"the programs that are needed are not there: run `qemu/packages {name}`")
    return Path(folder)


# --- kernels ----------------------------------------------------------------------------------------

ARM64 = "arm64"
AMD64 = "amd64"

# Where a build folder has the kernel that QEMU boots.
IMAGES = {AMD64: "arch/x86/boot/bzImage", ARM64: "arch/arm64/boot/Image"}

OWN = ("plain", "debug", "in-tree", "arm64-64k")


class Kernel:
    """A kernel that is there to be booted.

    name          what it is called in what is printed
    architecture  as Debian calls it
    image         the file that QEMU boots
    build         the folder the module is built against
    release       what `uname -r` says, of a kernel of Debian's; else None
    folder        what qemu/stock has of it, else None
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
        found = output_of([HERE / script, name, "--print-dir"])
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
        raise Failure(f"no {' or '.join(IMAGES.values())} in {folder}: a guest boots only a kernel that was built in its "
                      "folder")

    @property
    def stock(self):
        """Whether it is one of Debian's own."""
        return self.folder is not None

    def option(self, option):
        """Whether it has a configuration option, built in or as a module."""
        return re.search(rf"^{option}=[ym]$", (self.build / ".config").read_text(), re.M) is not None

    @property
    def page_kib(self):
        """The size of its pages in KiB."""
        return next((size for size in (16, 64) if self.option(f"CONFIG_ARM64_{size}K_PAGES")), 4)

    def bootable(self, work):
        """The image in a form that QEMU takes: for arm64 not packed."""
        data = self.image.read_bytes() if self.architecture == ARM64 else b""
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        elif data[:2] == b"MZ" and data[4:8] == b"zimg":
            # A program for EFI that unpacks the kernel: its header says where that is.
            start, length = (int.from_bytes(data[at:at + 4], "little") for at in (8, 12))
            if data[24:28] != b"gzip":
                raise Failure(f"{self.image} is packed by a method that is not known here")
            data = gzip.decompress(data[start:start + length])
        else:
            return self.image
        path = work / "Image"
        path.write_bytes(data)
        return path


# --- QEMU -------------------------------------------------------------------------------------------


def tsc_khz():
    """The rate of the host's time stamp counter, which is the guest's in emulation. A guest cannot find
    it out there: the one clock it has to compare with, the PIT, is too unsteady."""
    # rdtsc; shl rdx, 32; or rax, rdx; ret
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("0f31 48c1e220 4809d0 c3"))
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    rates = []
    for _ in range(5):
        start, before = time.monotonic_ns(), rdtsc()
        time.sleep(0.02)
        end, after = time.monotonic_ns(), rdtsc()
        rates.append((after - before) * 1_000_000 // (end - start))
    return sorted(rates)[2]


def scratch_disk(disk):
    """An empty disk beside the root disk."""
    path = disk.with_name("scratch.img")
    with open(path, "wb") as file:
        file.truncate(64 << 20)
    return path


def processor_of(kernel, accel):
    """QEMU's options for the processor, and what the kernel must be told of it."""
    if kernel.architecture == ARM64:
        # The algorithm that hardware signs pointers with is slow to emulate; vectors of any length are not used.
        return ["-accel", "tcg,thread=multi", "-cpu", "max,pauth-impdef=on,sve=off,sme=off"], []
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"], []
    return (["-accel", "tcg,thread=multi", "-cpu", "max,la57=off,smap=off,smep=off,pku=off"],
            [f"tsc_early_khz={tsc_khz()}", "tsc=reliable"])


def machine_of(kernel, disks, initrd):
    """QEMU's program and options for the machine, its console and its disks."""
    if kernel.architecture == ARM64:
        command = [programs("vm-arm64") / "usr/bin/qemu-system-aarch64", "-L", programs("vm-arm64") / "usr/share/qemu"]
        # Memory has room for tags where the kernel checks them.
        tags = ",mte=on" if kernel.option("CONFIG_KASAN_HW_TAGS") else ""
        command += ["-machine", "virt,gic-version=3" + tags]
    else:
        vm = programs("vm")
        command = [vm / "usr/bin/qemu-system-x86_64", "-L", vm / "usr/share/qemu", "-L", vm / "usr/share/seabios"]
        # The machine without PCI and ACPI: it boots within a second where a PC takes five, and ten times
        # that on the debugging kernel in emulation.
        command += ["-machine", "q35" if kernel.stock else "microvm,acpi=off,pit=on,pic=on,rtc=on"]
    if initrd:
        command += ["-initrd", initrd]
    bus = "pci" if kernel.stock else "device"
    command += ["-device", f"virtio-rng-{bus}"]
    disks = list(disks.items())
    if kernel.architecture == ARM64 and not kernel.stock:
        # This bus numbers its devices from the last one on.
        disks.reverse()
    for name, path in disks:
        # Writes go to a temporary file: every boot finds the disk as it was made. One queue: a disk ends its reads
        # in a soft interrupt, on the interrupts' stack.
        queues = ",num-queues=1" if name == "scratch" else ""
        command += ["-drive", f"file={path},if=none,id={name},format=raw,snapshot=on,cache=unsafe",
                    "-device", f"virtio-blk-{bus},drive={name}{queues}"]
    return command


def qemu_command(kernel, accel, disk, mode, memory=2048, extra=(), initrd=None):
    console = "ttyAMA0" if kernel.architecture == ARM64 else "ttyS0"
    processor, about_processor = processor_of(kernel, accel)
    append = [
        f"console={console}", "root=/dev/vda", "rootfstype=ext4", "rw", "init=/usr/sbin/overlaybd-init",
        # A guest that panics or reboots ends QEMU (-no-reboot).
        "panic=-1",
        # Everything cases and init say through /dev/kmsg arrives, and stays readable.
        "printk.devkmsg=on", "log_buf_len=4M",
        # Measure what dm reports, and nothing else.
        "ima_policy=critical_data",
        # Report every mistake, not only the first.
        "kasan_multi_shot",
        f"overlaybd.mode={mode}", *about_processor, *extra,
        "loglevel=5" if mode in ("demo", "shell", "bench") else "loglevel=7",
    ]
    if kernel.architecture == AMD64 and not kernel.stock:
        # This machine has no other way to reboot.
        append += ["reboot=t"]
    if accel != "kvm":
        # Emulated code is an order of magnitude slower: watchdogs wait accordingly longer. So is setting the timer,
        # which a kernel without a steady tick does whenever it idles: a steady one saves a sixth of the cases' time.
        append += ["watchdog_thresh=30", "workqueue.watchdog_thresh=90", "nohz=off", "highres=off"]
    if kernel.stock:
        # The devices that are built into the project's kernels, as many and as large.
        append += ["brd.rd_nr=2", "brd.rd_size=262144", "null_blk.nr_devices=0", "loop.max_loop=0"]
    return [*machine_of(kernel, {"disk": disk, "scratch": scratch_disk(disk)}, initrd),
            "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none",
            *processor, "-no-reboot", "-smp", "2", "-m", str(memory),
            # ^C belongs to the guest.
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            "-kernel", str(kernel.bootable(disk.parent)), "-append", " ".join(append)]


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """For a QEMU that is being started: it ends when this process does, however that ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Guest:
    """A running QEMU whose console is read line by line."""

    def __init__(self, command, log):
        self.log = log
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        preexec_fn=die_with_parent)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.rest = b""
        self.lines = []
        self.ended = False

    def line(self, deadline):
        """The next line of the console; None when the guest has ended; TimeoutError at the deadline."""
        while not self.lines:
            if self.ended:
                return None
            left = deadline - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                raise TimeoutError
            data = self.process.stdout.read(1 << 16)
            if data is None:
                continue
            if not data:
                self.ended = True
                data = b"\n" if self.rest else b""
            *lines, self.rest = (self.rest + data).split(b"\n")
            self.lines = [line.decode(errors="replace").rstrip("\r") for line in lines]
            self.log.write("".join(line + "\n" for line in self.lines))
            self.log.flush()
        return self.lines.pop(0)

    def send(self, text):
        """Types a line on the console."""
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            # The guest has ended; line() will say so.
            pass

    def kill(self):
        self.process.kill()
        self.process.wait()


class Guests:
    """The QEMUs of a run. Once they have been stopped, no other is started."""

    def __init__(self, command):
        self.command = command
        self.running = []
        self.stopped = False
        self.lock = threading.Lock()

    def start(self, log):
        """A new guest; None when they have been stopped."""
        with self.lock:
            if self.stopped:
                return None
            guest = Guest(self.command, log)
            self.running.append(guest)
            return guest

    def stop(self):
        with self.lock:
            self.stopped = True
            for guest in self.running:
                guest.kill()


def probe_kvm(kernel, make_disks):
    """Whether a guest boots under KVM; None if that cannot be told now. The device node alone says
    nothing: there are hosts on which QEMU stops or hangs with it."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    say("probing whether a guest boots under KVM")
    disk, initrd = make_disks()
    with open(disk.with_name("probe.log"), "w", encoding="utf-8") as log:
        guest = Guest(qemu_command(kernel, "kvm", disk, "probe", initrd=initrd), log)
        deadline = time.monotonic() + PROBE_LIMIT
        try:
            while (line := guest.line(deadline)) is not None:
                if line.endswith("@@vm ready"):
                    return True
            return False
        except TimeoutError:
            say(f"it did not within {PROBE_LIMIT} s: this goes without KVM (OVERLAYBD_ACCEL=kvm or tcg spares the question)")
            return None
        finally:
            guest.kill()
            disk.unlink()


def accelerator(wanted, kernel, make_disks):
    """`kvm` or `tcg`: which of them guests of this kernel are to use. make_disks gives the root disk and the
    initramfs of a guest to try it with."""
    if kernel.architecture != AMD64:
        return "tcg"
    if wanted:
        return wanted
    # The answer holds until the machine boots again (or its kernel module is loaded anew, which the
    # node's change time tells).
    node = os.stat("/dev/kvm") if os.path.exists("/dev/kvm") else None
    key = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.getuid(),
           [node.st_rdev, stat.S_IMODE(node.st_mode), node.st_gid, node.st_ctime] if node else None]
    cache = CACHE / "kvm-probe.json"
    try:
        known = json.loads(cache.read_text())
        if known["key"] == key and time.time() < known.get("until", float("inf")):
            return known["accel"]
    except (OSError, ValueError, KeyError):
        pass
    boots = probe_kvm(kernel, make_disks)
    answer = {"key": key, "accel": "kvm" if boots else "tcg"}
    if boots is None:
        # A busy host is as slow as one on which KVM hangs: ask again later, but not every time.
        answer["until"] = time.time() + 3600
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps(answer))
    return answer["accel"]
