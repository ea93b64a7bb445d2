# SPDX-License-Identifier: GPL-2.0
"""Loop devices below all layers, with direct I/O or through the page cache."""

from .case import Case, Ratio

WAYS = (
    "direct-512",
    "buffered",
    "buffered-512-above",
    "buffered-512-below",
    "buffered-512",
    "buffered-0-below",
)


def loops():
    for pattern, title in (("order", "files in order"), ("rand-4k", "4 KiB random")):
        for case, what, most in (
            ("", "", False),
            ("-memory", ": page cache", True),
            ("-bytes", ": read from the disk", True),
        ):
            yield Case(
                f"loops-{pattern}{case}",
                f"loop devices on a disk of 80 us, {title}{what}",
                "loops",
                tuple(Ratio(way, most=most) for way in WAYS),
            )


CASES = (*loops(),)
