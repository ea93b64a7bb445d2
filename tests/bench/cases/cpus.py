# SPDX-License-Identifier: GPL-2.0
"""Many CPUs: what a read costs when all of them read the same device."""

from .case import Case, Ratio

CPUS = 8


def cpus():
    for readers in (1, CPUS):
        yield Case(
            f"cpus-rand-4k-{readers}",
            f"4 KiB random, {CPUS} virtual CPUs, {readers} reader" + "s" * (readers > 1),
            "cpus",
            (Ratio("baseline"), Ratio("linear")),
        )
    yield Case(
        "cpus-growth",
        f"the same: the rate of {CPUS} readers, in rates of one",
        "cpus",
        (Ratio("baseline"), Ratio("linear", 0.95)),
    )


CASES = (*cpus(),)
