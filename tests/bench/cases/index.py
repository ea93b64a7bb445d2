# SPDX-License-Identifier: GPL-2.0
"""Lookups and merges."""

from .case import Case, Ratio


def index():
    for name, floor in (("1k", 2.0), ("100k", 2.5), ("1m", 2.5)):
        yield Case(
            f"lookup-{name}",
            f"lookup, {name} segments, one after the other",
            "index",
            (Ratio("binary-search", floor, 3.0, inverse=True),),
        )
        yield Case(
            f"lookup-apart-{name}",
            f"lookup, {name} segments, several under way",
            "index",
            (Ratio("binary-search", inverse=True),),
        )
    yield Case(
        "lookup-crowded",
        "lookup, 100k segments in one place, the worst case, one after the other",
        "index",
        (Ratio("binary-search", inverse=True),),
    )
    yield Case(
        "lookup-apart-crowded",
        "lookup, 100k segments in one place, several under way",
        "index",
        (Ratio("binary-search", inverse=True),),
    )
    for shape, what in (
        ("dense", "about half shows"),
        ("sparse", "nearly all shows"),
        ("full", "the top hides all"),
    ):
        yield Case(
            f"merge-{shape}",
            f"merge, 64 layers, {what}: a segment and log2(layers)",
            "index",
            (Ratio("allowed", 1.0, most=True),),
        )


CASES = (*index(),)
