# SPDX-License-Identifier: GPL-2.0
"""The verdicts of cases, printed and counted."""

import sys
import threading

# The name of the result that covers the leaks of all boots. A leak cannot be assigned to a case.
KMEMLEAK = "kmemleak"


class Results:
    """The cases that wait, and the results of all guests, printed as they arrive."""

    PASS, FAIL, SKIP = "ok", "FAIL", "skip"

    def __init__(self, names, want_leaks=False):
        self.waiting = list(names)
        # Whether each guest must look for leaks before it ends.
        self.want_leaks = want_leaks
        self.verdicts = []
        self.leaks = []
        # The counters of a module that counts which of its lines run, each as the guest sent them.
        self.counters = []
        self.over = False
        self.lock = threading.Lock()

    def next_case(self):
        with self.lock:
            return self.waiting.pop(0) if self.waiting else None

    def requeue(self, name):
        with self.lock:
            self.waiting.insert(0, name)

    def add(self, name, seconds, verdict, text, output=()):
        """`text` is the reason of a failure or skip, or the message of a case that passed."""
        with self.lock:
            # A case that ends because the run was cancelled has no result.
            if self.over:
                return
            self.verdicts.append((verdict, name))
            print(f"{verdict:<4}  {name:<32} {seconds:7.1f} s  {text}".rstrip())
            for line in output if verdict == self.FAIL else ():
                print(f"      | {line}")
            sys.stdout.flush()

    def fail(self, name, reason, output=()):
        self.add(name, 0.0, self.FAIL, reason, output)

    def add_leaks(self, seconds, verdict, text, output):
        """Every boot looks for leaks before it ends. The result of all is that of the worst."""
        with self.lock:
            self.leaks.append((seconds, verdict, text, output))

    def finish(self):
        """Adds the results that cover all boots, prints the last line, returns the exit status."""
        for name in self.waiting:
            self.fail(name, "did not run")
        if self.leaks:
            worst = [self.PASS, self.SKIP, self.FAIL].index
            self.add(KMEMLEAK, *max(self.leaks, key=lambda leak: (worst(leak[1]), leak[0])))
        elif self.want_leaks:
            self.fail(KMEMLEAK, "no guest looked for leaks")
        failed = self.named(self.FAIL)
        if failed:
            print(f"failed: {' '.join(failed)}")
        passed, skipped = len(self.named(self.PASS)), len(self.named(self.SKIP))
        print(f"{passed} passed, {len(failed)} failed, {skipped} skipped", flush=True)
        return 1 if failed or not self.verdicts else 0

    def named(self, verdict):
        return [name for given, name in self.verdicts if given == verdict]
