# SPDX-License-Identifier: GPL-2.0
"""Boots the kernel for the measurements, with tests/bench/guest as its init.

User-mode Linux is a program of the host and mounts the host's files as its root. QEMU has a disk
with all that the guest needs. The programs are those of the set `bench`, under the same paths in
both. Both end by themselves. This module does not know what is measured.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import zipapp
from functools import partial
from pathlib import Path

from runner.disk import make_disk, make_disks, make_folders
from runner.host import Failure, programs
from runner.kernels import Kernel
from runner.kvm import accelerator
from runner.machine import qemu_command

HERE = Path(__file__).resolve().parent

# The time in seconds without output after which the guest is ended.
SILENCE = 300

# The programs of the set that the guest runs, besides Python.
PROGRAMS = (
    "dmsetup",
    "insmod",
    "rmmod",
    "mount",
    "umount",
    "losetup",
    "mke2fs",
    "blkdiscard",
    "dd",
    "dmesg",
    "taskset",
)


def write_init(path):
    """Packs tests/bench/guest into one file, with a first line that names the Python of the set."""
    zipapp.create_archive(
        HERE / "guest",
        path,
        interpreter=f"{programs('bench')}/usr/bin/python3 -B",
        filter=lambda name: name.suffix == ".py",
    )
    return path


def memory_mib(plan):
    """Memory for the ramdisks of the largest group and for the page cache."""
    sizes = {name: image["bytes"] for name, image in plan["images"].items()}
    return (
        max(sum(sizes[name] for name in names) for names in plan["needs"].values()) // (1 << 20)
        + 1536
    )


def parameters(plan):
    """The kernel parameters that User-mode Linux and QEMU share."""
    largest = max(image["bytes"] for image in plan["images"].values())
    most = max(len(names) for names in plan["needs"].values())
    # A file system on a ramdisk, with the image as a file, takes more than the image.
    return [f"brd.rd_size={largest // 1024 + (32 << 10)}", f"brd.rd_nr={most + 1}"] + (
        ["BENCH_TRACE=1"] if plan["trace"] else []
    )


def pin_threads(cpus, pid):
    """Pins each CPU of User-mode Linux, which is a thread, to a CPU of the host, in turns, and with
    it the host processes of the guest's processes. On two CPUs each system call of the guest costs
    two wake-ups. They take several times as long as the call, and their time changes with every
    migration."""
    threads = sorted(int(task) for task in os.listdir(f"/proc/{pid}/task"))
    for cpu, thread in zip(itertools.cycle(sorted(os.sched_getaffinity(0))), threads[:cpus]):
        os.sched_setaffinity(thread, {cpu})


def lines(command, log, pin=None):
    """Runs a guest and yields the lines of its console. Calls `pin` with its process id after
    output."""
    # A kernel that spins must not outlive this process, even if a signal kills it.
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        os.set_blocking(process.stdout.fileno(), False)
        rest, heard = b"", time.monotonic()
        while True:
            data = process.stdout.read()
            if data == b"":
                break
            if data is None:
                if time.monotonic() - heard > SILENCE:
                    raise Failure(
                        f"the guest has printed nothing for {SILENCE} s, its log is {log.name}"
                    )
                time.sleep(0.1)
                continue
            heard = time.monotonic()
            log.write(data)
            log.flush()
            *whole, rest = (rest + data).split(b"\n")
            if pin and whole:
                pin(process.pid)
            yield from (line.decode(errors="replace").strip() for line in whole)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def user_mode(kernel, plan, folder, log):
    """Boots User-mode Linux on the host's files, which it cannot write to."""
    init = write_init(folder / "init")
    with tempfile.NamedTemporaryFile("w", suffix=".json", dir=folder) as file:
        json.dump(plan, file)
        file.flush()
        yield from lines(
            [
                kernel / "linux",
                f"mem={memory_mib(plan)}M",
                "root=/dev/root",
                "rootfstype=hostfs",
                "rootflags=/",
                "ro",
                f"init={init}",
                "con=null",
                "con0=fd:0,fd:1",
                "ssl=null",
                "seccomp=on",
                f"ncpus={plan['cpus']}",
                "quiet",
                *parameters(plan),
                f"BENCH_PLAN={file.name}",
            ],
            log,
            partial(pin_threads, plan["cpus"]),
        )


# --- QEMU -------------------------------------------------------------------------------------------


def add_programs(root):
    """Copies Python, the programs and their libraries to the paths they have on the host."""
    source = programs("bench")
    loader = source / "usr/lib64/ld-linux-x86-64.so.2"
    files = [
        source / folder / name
        for name in (*PROGRAMS, "python3")
        for folder in ("usr/sbin", "usr/bin")
    ]
    files = [path for path in files if path.exists()]
    library = next(source.glob("usr/lib/python3.*/os.py")).parent
    for path in [*files, *library.glob("lib-dynload/_ctypes.*.so")]:
        found = subprocess.run(
            [loader, "--library-path", source / "usr/lib/x86_64-linux-gnu", "--list", path],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        ).stdout
        files += map(Path, re.findall(rf"=> ({re.escape(str(source))}/\S+) \(0x", found))
    for path in [*files, loader]:
        target = root / str(path).lstrip("/")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    shutil.copytree(
        library,
        root / str(library).lstrip("/"),
        ignore=shutil.ignore_patterns(
            "__pycache__", "test", "dist-packages", "config-*", "sitecustomize.py"
        ),
    )


def root_disk(plan, work):
    """Creates a disk: Python, programs, modules, images, and a plan with their paths."""
    root = work / "root"
    inside = root / "bench"
    make_folders(root)
    (inside / "images").mkdir(parents=True)
    add_programs(root)
    write_init(inside / "guest")
    inner = json.loads(json.dumps(plan))
    for name in ("reader", "blkcheck", "crowd", "overlaybdsetup"):
        shutil.copy(plan[name], inside)
        inner[name] = f"/bench/{name}"
    modules = list(inner["modules"].items()) + [
        (name, inner[name]) for name in ("decompress", "files") if name in inner
    ]
    for name, module in modules:
        shutil.copy(module["path"], inside / f"{name}.ko")
        module["path"] = f"/bench/{name}.ko"
    for name, image in inner["images"].items():
        # Large: linked, not copied.
        os.link(image["path"], inside / "images" / name)
        image["path"] = f"/bench/images/{name}"
    (inside / "plan.json").write_text(json.dumps(inner))
    return make_disk(work, root, lambda size: size + size // 16 + (64 << 20))


def qemu(kernel, plan, folder, log):
    """Boots QEMU. In emulation figures mean nothing, so it needs OVERLAYBD_ACCEL=tcg."""
    booted = Kernel.built(kernel)
    with tempfile.TemporaryDirectory(prefix="qemu-", dir=folder) as name:
        work = Path(name)
        accel = accelerator(
            os.environ.get("OVERLAYBD_ACCEL"), booted, partial(make_disks, booted, work)
        )
        if accel != "kvm" and not os.environ.get("OVERLAYBD_ACCEL"):
            raise Failure(
                "no guest boots under KVM on this machine, and figures from emulation would mean "
                "nothing: leave out --qemu to measure in User-mode Linux"
            )
        disk = root_disk(plan, work)
        extra = ["init=/bench/guest", "BENCH_PLAN=/bench/plan.json", *parameters(plan)]
        yield from lines(
            qemu_command(booted, accel, disk, "bench", memory_mib(plan) + 512, extra), log
        )
