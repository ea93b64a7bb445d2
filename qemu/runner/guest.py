# SPDX-License-Identifier: GPL-2.0
"""A running QEMU and its console."""

import ctypes
import os
import selectors
import signal
import subprocess
import threading
import time

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """Runs in the child before it executes QEMU: when this process ends, so does QEMU."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Guest:
    """A running QEMU whose console is read line by line."""

    def __init__(self, command, log):
        self.log = log
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.rest = b""
        self.lines = []
        self.ended = False

    def line(self, deadline):
        """The next line of the console, or None when the guest has ended. Raises TimeoutError at
        the deadline."""
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
            # The guest has ended, which line() reports.
            pass

    def kill(self):
        self.process.kill()
        self.process.wait()


class Guests:
    """The QEMUs of a run. After stop(), none is started."""

    def __init__(self, command):
        self.command = command
        self.running = []
        self.stopped = False
        self.lock = threading.Lock()

    def start(self, log):
        """A new guest; None after stop()."""
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
