# SPDX-License-Identifier: GPL-2.0
"""Boots the kernel that is measured in, with tests/bench/guest as its init.

User-mode Linux is a program of this machine and has its files as root; QEMU gets a disk with all
that the guest needs. The programs are those of the set `bench`, at the same place in both. Both end by
themselves. Nothing here knows what is measured.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import images

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent

# How QEMU is started, and whether KVM works.
sys.path.insert(0, str(TOP / "qemu"))

import guest  # noqa: E402
import machine  # noqa: E402
from machine import Failure  # noqa: E402

# Seconds without a word from the guest after which it is given up.
SILENCE = 300

# What the guest runs of the set, besides Python.
PROGRAMS = ("dmsetup", "insmod", "rmmod", "mount", "umount", "blkdiscard", "dd", "dmesg", "taskset")


def write_init(path):
    """Writes tests/bench/guest as the kernel can start it: by a Python that is not where others are."""
    _, rest = (HERE / "guest").read_text(encoding="utf-8").split("\n", 1)
    path.write_text(f"#!{images.programs()}/usr/bin/python3 -B\n{rest}", encoding="utf-8")
    path.chmod(0o755)
    return path


def memory_mib(plan):
    """Enough for the largest group's ramdisks and for what is cached while files are read."""
    sizes = {name: image["bytes"] for name, image in plan["images"].items()}
    return max(sum(sizes[name] for name in names) for names in plan["needs"].values()) // (1 << 20) + 1536


def parameters(plan):
    """The kernel's command line, as far as it is the same everywhere."""
    largest = max(image["bytes"] for image in plan["images"].values())
    most = max(len(names) for names in plan["needs"].values())
    return [f"brd.rd_size={largest // 1024 + 8}", f"brd.rd_nr={most + 1}"] + (["BENCH_TRACE=1"] if plan["trace"] else [])


def pin_threads(pid):
    """Puts each CPU of User-mode Linux, a thread, on a CPU of its own, and with it the host processes
    that are made for the guest's. Between two CPUs each system call is two wake-ups, which takes
    several times as long as the call, and changes with every move."""
    threads = sorted(int(task) for task in os.listdir(f"/proc/{pid}/task"))
    for cpu, thread in zip(sorted(os.sched_getaffinity(0)), threads):
        os.sched_setaffinity(thread, {cpu})


def lines(command, log, pin=None):
    """Runs a guest and yields the lines it says; `pin` is called with its process once it says something."""
    # A kernel that spins must not outlive this process, however that ends.
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        os.set_blocking(process.stdout.fileno(), False)
        rest, heard = b"", time.monotonic()
        while True:
            data = process.stdout.read()
            if data == b"":
                break
            if data is None:
                if time.monotonic() - heard > SILENCE:
                    raise Failure(f"the guest has said nothing for {SILENCE} s, its log is {log.name}")
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
    """Boots User-mode Linux on this machine's files, which it cannot write to."""
    init = write_init(folder / "init")
    with tempfile.NamedTemporaryFile("w", suffix=".json", dir=folder) as file:
        json.dump(plan, file)
        file.flush()
        yield from lines([kernel / "linux", f"mem={memory_mib(plan)}M", "root=/dev/root", "rootfstype=hostfs",
                          "rootflags=/", "ro", f"init={init}", "con=null", "con0=fd:0,fd:1", "ssl=null",
                          "seccomp=on", f"ncpus={plan['cpus']}", "quiet", *parameters(plan), f"BENCH_PLAN={file.name}"],
                         log, pin_threads)


# --- QEMU -------------------------------------------------------------------------------------------


def add_programs(root):
    """Copies Python and the programs of the set, with their libraries, to where they are here."""
    source = images.programs()
    loader = source / "usr/lib64/ld-linux-x86-64.so.2"
    files = [source / folder / name for name in (*PROGRAMS, "python3") for folder in ("usr/sbin", "usr/bin")]
    files = [path for path in files if path.exists()]
    library = next(source.glob("usr/lib/python3.*/os.py")).parent
    for path in [*files, *library.glob("lib-dynload/_ctypes.*.so")]:
        found = subprocess.run([loader, "--library-path", source / "usr/lib/x86_64-linux-gnu", "--list", path],
                               stdout=subprocess.PIPE, text=True, check=False).stdout
        files += map(Path, re.findall(rf"=> ({re.escape(str(source))}/\S+) \(0x", found))
    for path in [*files, loader]:
        target = root / str(path).lstrip("/")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    shutil.copytree(library, root / str(library).lstrip("/"),
                    ignore=shutil.ignore_patterns("__pycache__", "test", "dist-packages", "config-*",
                                                  "sitecustomize.py"))


def root_disk(plan, work):
    """A disk with Python, the programs, the modules and the images; the plan is written for it."""
    root = work / "root"
    inside = root / "bench"
    for folder in "usr/bin usr/sbin usr/lib usr/lib64 dev proc sys run tmp mnt root etc bench/images".split():
        (root / folder).mkdir(parents=True)
    for link in "bin sbin lib lib64".split():
        (root / link).symlink_to("usr/" + link)
    add_programs(root)
    write_init(inside / "guest")
    inner = json.loads(json.dumps(plan))
    for name in ("reader", "blkcheck"):
        shutil.copy(plan[name], inside)
        inner[name] = f"/bench/{name}"
    modules = list(inner["modules"].items()) + [(name, inner[name]) for name in ("decompress", "files") if name in inner]
    for who, module in modules:
        shutil.copy(module["path"], inside / f"{who}.ko")
        module["path"] = f"/bench/{who}.ko"
    for name, image in inner["images"].items():
        # As large as all the rest: linked, not copied.
        os.link(image["path"], inside / "images" / name)
        image["path"] = f"/bench/images/{name}"
    (inside / "plan.json").write_text(json.dumps(inner))
    size = sum(path.lstat().st_size + 4096 for path in root.rglob("*"))
    disk = work / "root.img"
    with open(disk, "wb") as file:
        file.truncate(size + size // 16 + (64 << 20) & ~4095)
    guest.make_ext4(disk, root)
    shutil.rmtree(root)
    return disk


def qemu(kernel, plan, folder, log):
    """Boots QEMU. Emulation tells nothing about speed, so it must be asked for by OVERLAYBD_ACCEL=tcg."""
    booted = machine.Kernel.built(kernel)
    with tempfile.TemporaryDirectory(prefix="qemu-", dir=folder) as name:
        work = Path(name)
        accel = machine.accelerator(os.environ.get("OVERLAYBD_ACCEL"), booted, partial(guest.make_disks, booted, work))
        if accel != "kvm" and not os.environ.get("OVERLAYBD_ACCEL"):
            raise Failure("no guest boots under KVM on this machine, and figures from emulation would mean nothing: "
                          "leave out --qemu to measure in User-mode Linux")
        disk = root_disk(plan, work)
        extra = ["init=/bench/guest", "BENCH_PLAN=/bench/plan.json", *parameters(plan)]
        yield from lines(machine.qemu_command(booted, accel, disk, "bench", memory_mib(plan) + 512, extra), log)
