# SPDX-License-Identifier: GPL-2.0
"""One boot of a guest: the protocol on the console, and the verdict on each case.

The guest (qemu/init, tests/vm/run-cases.sh) writes lines `@@vm WORD ...` between those of its
kernel:

    ready                      it has booted
    next                       it requests a line: `case NAME`, or `finish`
    begin NAME LIMIT           the case starts and has LIMIT seconds
    | TEXT                     output of the case
    end NAME VERDICT [TEXT]    the case has ended
    counters TEXT              a piece of the module's counters; "." ends them
    unclean TEXT               this guest must run no other case
    demo STATUS                the demonstration has ended
"""

import re
import time

from . import complaints
from .results import KMEMLEAK, Results

MARK = re.compile(r"@@vm (\S+) ?(.*)$")
STAMP = re.compile(r"^\[ *\d+\.\d+\](\[ *[TC]\d+\])? ")

# In seconds. Cases set the limits of single cases; these are for the rest.
BOOT_LIMIT = 180
IDLE_LIMIT = 120
GRACE = 40
OOPS_LIMIT = 20


class Boot:
    """Hands cases to a guest that has been started, reads its console and judges."""

    def __init__(self, guest, results):
        self.guest = guest
        self.results = results
        self.ran = 0
        self.looked_for_leaks = False
        self.given = None
        self.case = None
        self.started = 0.0
        self.output = []
        self.complaints = []
        self.tail = []
        self.stacks_requested = False
        self.spoiled = None
        self.pieces = []

    def run(self):
        """Returns when no case is left, or when the guest must not be used further."""
        deadline = time.monotonic() + BOOT_LIMIT
        while not self.spoiled:
            try:
                line = self.guest.line(deadline)
            except TimeoutError:
                self.close("the guest no longer answered, QEMU was ended")
                return
            if line is None:
                self.close("the guest ended")
                return
            mark = MARK.search(line)
            if mark:
                deadline = self.guest_line(*mark.groups()) or deadline
                continue
            self.kernel_line(line)
            if self.case and complaints.FATAL.search(line):
                deadline = min(deadline, time.monotonic() + OOPS_LIMIT)
        self.settle("between cases")

    def guest_line(self, word, text):
        """Handles a line of the protocol. Returns the new deadline, or None to keep it."""
        if word == "ready":
            self.settle("boot")
        elif word == "next":
            self.given = self.results.next_case()
            self.guest.send(f"case {self.given}" if self.given else "finish")
        elif word == "begin":
            self.settle("between cases")
            self.case, limit = text.split()
            self.given = None
            self.started = time.monotonic()
            self.output, self.tail = [], []
            self.stacks_requested = False
            return self.started + int(limit) + GRACE
        elif word == "end":
            _, verdict, *words = text.split(None, 2)
            self.end(
                {"pass": Results.PASS, "skip": Results.SKIP}.get(verdict, Results.FAIL),
                " ".join(words),
            )
        else:
            if word == "|":
                self.output.append(text)
            elif word == "unclean":
                self.spoiled = text
            elif word == "counters" and text == ".":
                self.results.counters.append("".join(self.pieces))
                self.pieces = []
            elif word == "counters":
                self.pieces.append(text)
            return None
        return time.monotonic() + IDLE_LIMIT

    def kernel_line(self, line):
        self.tail = self.tail[-200:] + [line]
        self.stacks_requested |= complaints.STACKS_REQUESTED in line
        if self.complaints or complaints.PATTERN.search(line) and not self.stacks_requested:
            self.complaints.append(STAMP.sub("", line))

    def end(self, verdict, text):
        name, seconds, output = self.case, time.monotonic() - self.started, self.output
        said = [line for line in self.complaints if complaints.PATTERN.search(line)]
        if said:
            text = (
                (text + "; " if verdict == Results.FAIL else "")
                + "the kernel said: "
                + said[0].strip()
            )
            verdict = Results.FAIL
            output = output + ["kernel log:"] + self.complaints[:80]
            # Checkers stop after their first report, and an oops leaves locks held.
            self.spoiled = "the kernel complained"
        if name == KMEMLEAK:
            self.results.add_leaks(seconds, verdict, text, output)
            self.looked_for_leaks = True
        else:
            self.results.add(name, seconds, verdict, text, output)
            self.ran += 1
        self.case, self.complaints, self.output = None, [], []

    def settle(self, where):
        """Complaints outside of any case fail the run under the name of the place."""
        if self.complaints:
            self.results.fail(
                f"({where})", "the kernel said: " + self.complaints[0].strip(), self.complaints[:80]
            )
            self.complaints = []

    def close(self, why):
        if self.given:
            self.results.requeue(self.given)
        if self.case:
            if not self.complaints:
                self.output += ["end of the console:"] + self.tail[-40:]
            self.end(Results.FAIL, why)
        elif not self.ran:
            # No case has run yet: another try is worth it, since the host may be overloaded.
            self.spoiled = why + " before it ran a case"
            self.settle("boot")
        else:
            self.settle("end")
            if self.results.want_leaks and not self.looked_for_leaks:
                self.results.add_leaks(
                    0.0, Results.FAIL, why + " without having looked for leaks", self.tail[-40:]
                )
