# SPDX-License-Identifier: GPL-2.0
"""The command line of qemu/vm: runs cases, runs the demonstration, or opens a prompt."""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from . import complaints
from .boot import BOOT_LIMIT, IDLE_LIMIT, MARK
from .disk import make_disks
from .guest import Guest, Guests
from .host import BUILD, Failure, say
from .kernels import Kernel
from .kvm import accelerator
from .machine import qemu_command
from .manifest import FIXTURES, image_source, say_which
from .results import Results
from .schedule import (
    in_share,
    known_cases,
    limit_of,
    list_cases,
    need_systemd,
    run_side_by_side,
    side_by_side,
)

# A module that leaks on purpose, in the folder of the debugging kernel.
CANARY = "samples/kmemleak/kmemleak-test.ko"

WELCOME = """
dm-overlaybd is loaded. Images and tables of them: images/, tests: tests/vm/, tools: tools/
A stack by hand, as `make demo` builds it, is in demo.sh. `exit` or ^D ends the machine.
"""


def module_of(args, kernel):
    """The file for the guest: the module, for a kernel of Debian's its package, or None where the
    module is built in."""
    if args.module == "none":
        return None
    found = Path(
        args.module or BUILD / args.kernel / ("package.deb" if kernel.stock else "dm-overlaybd.ko")
    )
    if not found.is_file():
        goal = "deb" if kernel.stock else "module"
        raise Failure(f"{found} is not there: run `make {goal} KERNEL={args.kernel}`")
    return found.resolve()


def canary_of(kernel):
    """The module that leaks; None for a kernel without it."""
    canary = kernel.build / CANARY
    if canary.is_file():
        return canary
    if kernel.option("CONFIG_SAMPLE_KMEMLEAK"):
        raise Failure(f"{canary} is not there: the kernel was not built as a whole")
    return None


def test(args, kernel, accel, work):
    """Runs cases, prints the result of each, counts them."""
    known = known_cases()
    for name in args.case:
        if name not in known:
            raise Failure(f"there is no case {name}; there are: {' '.join(known)}")
    # Long cases start first: a short one at the end delays the run less.
    names = args.case or [name for name in known if not need_systemd([name])]
    names = sorted(names, key=lambda name: -limit_of(name))
    systemd = need_systemd(names)
    if args.share:
        names = [name for name in names if in_share(name, args.kernel)]
    module = module_of(args, kernel)
    canary = canary_of(kernel)
    number = side_by_side(args.guests, args.memory, len(names))
    images = image_source()
    say(
        f"kernel {kernel.name}, pages of {kernel.page_kib} KiB, under {accel}: {len(names)} cases, "
        f"{number} guests side by side"
    )
    say_which(images)
    disk, initrd = make_disks(
        kernel,
        work,
        module,
        images,
        whole_sectors=True,
        canary=canary,
        faults=True,
        systemd=systemd,
    )
    extra = ["overlaybd.trace"] if args.trace else []
    if args.seconds:
        extra.append(f"overlaybd.seconds={args.seconds}")
    if args.limit:
        extra.append(f"overlaybd.limit={args.limit}")
    guests = Guests(qemu_command(kernel, accel, disk, "test", args.memory, extra, initrd))
    results = Results(names, kernel.option("CONFIG_DEBUG_KMEMLEAK"))
    logs = [BUILD / f"vm-{args.kernel}-{guest}.log" for guest in range(1, number + 1)]
    run_side_by_side(guests, results, logs)
    status = results.finish()
    if args.counters:
        args.counters.write_text("".join(text + "\n" for text in results.counters))
    if status:
        print(f"==> the whole console is in {' '.join(str(log) for log in logs)}", file=sys.stderr)
    return status


def demo(args, kernel, accel, work):
    """Runs qemu/demo.sh in the guest and prints its output."""
    module = module_of(args, kernel)
    say(f"booting the kernel {kernel.name} in QEMU under {accel}")
    images = FIXTURES if (FIXTURES / "manifest.json").is_file() else image_source()
    disk, initrd = make_disks(kernel, work, module, images)
    status = None
    with open(BUILD / "vm-demo.log", "w", encoding="utf-8") as log:
        guest = Guest(
            qemu_command(kernel, accel, disk, "demo", args.memory, args.append.split(), initrd), log
        )
        deadline = time.monotonic() + BOOT_LIMIT + IDLE_LIMIT
        started = False
        complained = []
        try:
            while (line := guest.line(deadline)) is not None:
                mark = MARK.search(line)
                if mark and mark[1] == "ready":
                    started = True
                elif mark and mark[1] == "demo":
                    status = int(mark[2])
                elif started and not mark and status is None:
                    print(line, flush=True)
                if complaints.PATTERN.search(line):
                    complained.append(line)
        except TimeoutError:
            print("the guest no longer answers, QEMU is ended")
        finally:
            guest.kill()
    if complained:
        print("the kernel complained: " + complained[0])
        status = status or 1
    if status != 0:
        print(f"demo FAILED; the whole console is in {BUILD / 'vm-demo.log'}")
        return 1
    return 0


def shell(args, kernel, accel, work):
    """Opens a prompt in the guest, with the module loaded."""
    disk, initrd = make_disks(
        kernel, work, module_of(args, kernel), image_source(), [("welcome", WELCOME)], faults=True
    )
    return subprocess.run(
        qemu_command(kernel, accel, disk, "shell", args.memory, initrd=initrd), check=False
    ).returncode


def cancelled(number, _frame):
    """Ends the run as ^C does: the exit removes guests and folders, once."""
    for other in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


@contextlib.contextmanager
def work_folder():
    """A folder for this run, with a lock held on it. A folder without a lock is left from a run
    that was killed, and is removed."""
    BUILD.mkdir(exist_ok=True)
    with open(BUILD / "vm.lock", "w", encoding="utf-8") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for path in filter(Path.is_dir, BUILD.glob("vm-*")):
            folder = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            except BlockingIOError:
                pass
            finally:
                os.close(folder)
        temporary = tempfile.TemporaryDirectory(prefix="vm-", dir=BUILD)
        held = os.open(temporary.name, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with temporary:
            yield Path(temporary.name)
    finally:
        os.close(held)


def arguments():
    parser = argparse.ArgumentParser(
        description="Boots a prepared kernel in QEMU with the module, the VM cases and the "
        "images inside."
    )
    parser.add_argument("mode", choices=["test", "demo", "shell"])
    parser.add_argument(
        "--kernel", default="plain", help="a kernel of qemu/kernel or qemu/stock (default: plain)"
    )
    parser.add_argument(
        "--case",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME",
        help="run only these cases",
    )
    parser.add_argument(
        "--share",
        action="store_true",
        help="leave out cases that name another kernel: for runs on the debugging kernel and on "
        "one of Debian's, which together run each case",
    )
    parser.add_argument("--list", action="store_true", help="list the cases, run none")
    parser.add_argument(
        "--trace", action="store_true", help="run cases with sh -x; shown when they fail"
    )
    parser.add_argument(
        "--kdir", type=Path, help="boot the kernel that was built in this folder instead"
    )
    parser.add_argument(
        "--module",
        help="the module to load, or the package to install (default: those in build/KERNEL); "
        "`none` where the kernel has it built in",
    )
    parser.add_argument("--memory", type=int, default=2048, help="memory of a guest in MiB")
    parser.add_argument(
        "--seconds", type=int, help="how long cases run that may run for any time: soak and fuzz"
    )
    parser.add_argument(
        "--limit", type=int, help="end each case after that many seconds, if not before"
    )
    parser.add_argument(
        "--counters", type=Path, help="write the counters of an instrumented module to this file"
    )
    parser.add_argument("--guests", type=int, help="the number of guests to run side by side")
    parser.add_argument("--append", default="", help="more kernel parameters for the demonstration")
    parser.add_argument(
        "--accel",
        choices=["kvm", "tcg"],
        default=os.environ.get("OVERLAYBD_ACCEL"),
        help="the accelerator to use, without a probe",
    )
    return parser.parse_args()


def main():
    args = arguments()
    if args.list or args.case == ["list"]:
        list_cases()
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, cancelled)
    try:
        kernel = Kernel.built(args.kdir) if args.kdir else Kernel.prepared(args.kernel)
        with work_folder() as work:
            accel = accelerator(args.accel, kernel, partial(make_disks, kernel, work))
            return {"test": test, "demo": demo, "shell": shell}[args.mode](
                args, kernel, accel, work
            )
    except KeyboardInterrupt:
        return 130
    except Failure as failure:
        print(f"{Path(sys.argv[0]).name}: error: {failure}", file=sys.stderr)
        return 2
