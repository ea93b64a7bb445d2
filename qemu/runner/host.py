# SPDX-License-Identifier: GPL-2.0
"""The host: its folders, its sets of programs, and messages to the user."""

import functools
import os
import subprocess
from pathlib import Path

QEMU = Path(__file__).resolve().parent.parent
TOP = QEMU.parent
BUILD = TOP / "build"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dm-overlaybd"


class Failure(Exception):
    """Ends the run. Its text is for the user."""


def say(text):
    print(f"==> {text}", flush=True)


def output_of(command):
    """What a program prints; None when it fails. The user sees its error messages."""
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return None if found.returncode else found.stdout.strip()


def output_or_fail(*command, env=None):
    """What a program prints. Its error messages are the text of the Failure when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=env,
    )
    if done.returncode:
        raise Failure(f"{command[0]}: {done.stderr.strip() or 'failed'}")
    return done.stdout.strip()


@functools.cache
def programs(name):
    """The folder of a set of programs (see qemu/packages)."""
    folder = output_of([QEMU / "packages", "--print-dir", name])
    if folder is None:
        raise Failure(f"the programs that are needed are not there: run `qemu/packages {name}`")
    return Path(folder)
