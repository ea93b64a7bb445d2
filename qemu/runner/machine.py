# SPDX-License-Identifier: GPL-2.0
"""QEMU's command line for a kernel and its disks.

A kernel of the project runs on the smallest machine of QEMU's, one of Debian's on an ordinary PC.
"""

from .clock import tsc_khz
from .host import programs
from .kernels import AMD64, ARM64


def scratch_disk(disk):
    """Creates an empty disk in the folder of the root disk."""
    path = disk.with_name("scratch.img")
    with open(path, "wb") as file:
        file.truncate(64 << 20)
    return path


def processor_of(kernel, accel):
    """QEMU's options for the processor, and the kernel parameters that go with them."""
    if kernel.architecture == ARM64:
        # The algorithm by which hardware signs pointers is slow to emulate. SVE and SME are not
        # used.
        return ["-accel", "tcg,thread=multi", "-cpu", "max,pauth-impdef=on,sve=off,sme=off"], []
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"], []
    return (
        ["-accel", "tcg,thread=multi", "-cpu", "max,la57=off,smap=off,smep=off,pku=off"],
        [f"tsc_early_khz={tsc_khz()}", "tsc=reliable"],
    )


def machine_of(kernel, disks, initrd):
    """QEMU's program and its options for the machine, the console and the disks."""
    if kernel.architecture == ARM64:
        command = [
            programs("vm-arm64") / "usr/bin/qemu-system-aarch64",
            "-L",
            programs("vm-arm64") / "usr/share/qemu",
        ]
        # Memory has room for tags where the kernel checks them.
        tags = ",mte=on" if kernel.option("CONFIG_KASAN_HW_TAGS") else ""
        command += ["-machine", "virt,gic-version=3" + tags]
    else:
        vm = programs("vm")
        command = [
            vm / "usr/bin/qemu-system-x86_64",
            "-L",
            vm / "usr/share/qemu",
            "-L",
            vm / "usr/share/seabios",
        ]
        # The machine without PCI and ACPI boots within a second. A PC takes five seconds, and ten
        # times that with the debugging kernel in emulation.
        command += ["-machine", "q35" if kernel.stock else "microvm,acpi=off,pit=on,pic=on,rtc=on"]
    if initrd:
        command += ["-initrd", initrd]
    bus = "pci" if kernel.stock else "device"
    command += ["-device", f"virtio-rng-{bus}"]
    disks = list(disks.items())
    if kernel.architecture == ARM64 and not kernel.stock:
        # This bus numbers its devices from the last to the first.
        disks.reverse()
    for name, path in disks:
        # Writes go to a temporary file: every boot finds the disk as it was created. The scratch
        # disk has one queue: it completes reads in a soft interrupt, on the interrupt stack.
        queues = ",num-queues=1" if name == "scratch" else ""
        command += [
            "-drive",
            f"file={path},if=none,id={name},format=raw,snapshot=on,cache=unsafe",
            "-device",
            f"virtio-blk-{bus},drive={name}{queues}",
        ]
    return command


def qemu_command(kernel, accel, disk, mode, memory=2048, extra=(), initrd=None):
    """The command that boots `disk`. `mode` is for qemu/init, `extra` are kernel parameters."""
    console = "ttyAMA0" if kernel.architecture == ARM64 else "ttyS0"
    processor, about_processor = processor_of(kernel, accel)
    append = [
        f"console={console}",
        "root=/dev/vda",
        "rootfstype=ext4",
        "rw",
        "init=/usr/sbin/overlaybd-init",
        # A guest that panics or reboots ends QEMU (-no-reboot).
        "panic=-1",
        # No message that cases and init write to /dev/kmsg is dropped or overwritten.
        "printk.devkmsg=on",
        "log_buf_len=4M",
        # IMA measures what device-mapper reports, and nothing else.
        "ima_policy=critical_data",
        # KASAN reports every error, not only the first.
        "kasan_multi_shot",
        f"overlaybd.mode={mode}",
        *about_processor,
        *extra,
        "loglevel=5" if mode in ("demo", "shell", "bench") else "loglevel=7",
    ]
    if kernel.architecture == AMD64 and not kernel.stock:
        # This machine has no other way to reboot.
        append += ["reboot=t"]
    if accel != "kvm":
        # Emulated code is ten times as slow, so watchdogs wait longer. Setting the timer is slow
        # too, and a kernel without a steady tick sets it whenever it idles: a steady tick saves a
        # sixth of the cases' time.
        append += ["watchdog_thresh=30", "workqueue.watchdog_thresh=90", "nohz=off", "highres=off"]
    if kernel.stock:
        # The same devices as the project's kernels have built in.
        append += ["brd.rd_nr=2", "brd.rd_size=262144", "null_blk.nr_devices=0", "loop.max_loop=0"]
    return [
        *machine_of(kernel, {"disk": disk, "scratch": scratch_disk(disk)}, initrd),
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-monitor",
        "none",
        *processor,
        "-no-reboot",
        "-smp",
        "2",
        "-m",
        str(memory),
        # ^C goes to the guest.
        "-chardev",
        "stdio,id=console,signal=off",
        "-serial",
        "chardev:console",
        "-kernel",
        str(kernel.bootable(disk.parent)),
        "-append",
        " ".join(append),
    ]
