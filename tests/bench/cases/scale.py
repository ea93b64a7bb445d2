# SPDX-License-Identifier: GPL-2.0
"""Many devices at once, and one of many layers."""

from .case import Case, Ratio


def scale():
    yield Case(
        "scale-create",
        "1,000 images of 10 layers: create, for each of 11,000 devices",
        "scale",
        (Ratio("linear", most=True),),
    )
    yield Case(
        "scale-create-last",
        "the same, for the last tenth of them",
        "scale",
        (Ratio("first", most=True),),
    )
    yield Case(
        "scale-remove",
        "1,000 images of 10 layers: remove 64 at a time, for each of 11,000 devices",
        "scale",
        (Ratio("linear", most=True),),
    )
    yield Case(
        "scale-remove-alone",
        "the same, one after the other",
        "scale",
        (Ratio("linear", most=True),),
    )
    yield Case(
        "scale-memory",
        "1,000 images of 10 layers: memory of each of 11,000 devices",
        "scale",
        (Ratio("linear", most=True),),
    )
    yield Case(
        "scale-rand-4k",
        "4 KiB random, of one image among 1,000",
        "scale",
        (Ratio("one"),),
    )
    for task in ("open", "close"):
        yield Case(
            f"scale-program-{task}",
            f"overlaybdsetup {task}, with 1,000 images of 10 layers present",
            "scale",
            (Ratio("one", most=True),),
        )
    yield Case(
        "scale-deep-create",
        "create of 255 layers, 1,000,000 segments",
        "scale",
        (Ratio("allowed", 1.0, most=True),),
    )
    yield Case(
        "scale-deep-memory",
        "memory of 255 layers, 1,000,000 segments: of a segment",
        "scale",
        (Ratio("documented", most=True),),
    )


CASES = (*scale(),)
