# SPDX-License-Identifier: GPL-2.0
"""Which case runs in which guest: a few guests run side by side, and each boot runs many cases."""

import os
import re
import textwrap
import threading
from pathlib import Path

from .boot import Boot
from .host import TOP, Failure, say

CASES = TOP / "tests/vm/cases"


def known_cases():
    """The names of all cases."""
    return sorted(path.stem for path in CASES.glob("*.sh"))


def list_cases():
    """Prints the name of every case with the first sentence of its description."""
    for name in known_cases():
        text = case_file(name).read_text()
        about = re.search(r"^#\n((?:# .*\n)+)", text, re.M)[1].replace("\n# ", " ")[2:]
        sentence = about.split(". ")[0].rstrip(".")
        print(f"{name:<20} {textwrap.shorten(sentence, 110, placeholder=' ...')}")


def case_file(name):
    return CASES / f"{name}.sh"


def limit_of(name):
    """The limit that a case sets for itself."""
    found = re.search(r"^# timeout: *(\d+)", case_file(name).read_text(), re.M)
    return int(found[1]) if found else 0


def need_systemd(names):
    """Whether these cases need systemd as the init of their guest ("# init: systemd")."""
    need = {
        re.search(r"^# init: *systemd$", case_file(name).read_text(), re.M) is not None
        for name in names
    }
    if len(need) > 1:
        raise Failure("cases that need systemd run in guests of their own: name no others")
    return need == {True}


def in_share(name, kernel):
    """Whether a run that shares the cases with another kernel runs this one. A case without a line
    "# only: KERNEL" runs on both: the debugging kernel, and one of Debian's."""
    only = re.search(r"^# only: *(\w+)", case_file(name).read_text(), re.M)
    return only is None or only[1] == ("debug" if kernel == "debug" else "stock")


def side_by_side(wanted, memory, cases):
    """The number of guests to run at once. A guest has two processors; most cases keep one busy."""
    if wanted:
        return min(wanted, cases)
    available = (
        int(re.search(r"^MemAvailable: *(\d+)", Path("/proc/meminfo").read_text(), re.M)[1]) >> 10
    )
    return max(1, min(len(os.sched_getaffinity(0)), 4, available // (memory + 512), cases))


def run_guests(number, guests, results, log_path):
    """Boots one guest after the other for as long as cases are waiting and boots succeed."""
    barren = 0
    with open(log_path, "w", encoding="utf-8") as log:
        while results.waiting and (guest := guests.start(log)):
            boot = Boot(guest, results)
            try:
                boot.run()
            finally:
                guest.kill()
            barren = 0 if boot.ran else barren + 1
            if barren == 3:
                results.fail(
                    "(boot)",
                    "three boots in a row were in vain: " + str(boot.spoiled),
                    boot.tail[-60:],
                )
                return
            if results.waiting and not results.over:
                say(
                    f"guest {number}: booting again"
                    + (f" ({boot.spoiled})" if boot.spoiled else "")
                )


def run_side_by_side(guests, results, logs):
    """Runs the cases of `results` in guests, one for each log."""
    threads = [
        threading.Thread(target=run_guests, args=(number, guests, results, log), daemon=True)
        for number, log in enumerate(logs, 1)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        results.over = True
        raise
    finally:
        guests.stop()
