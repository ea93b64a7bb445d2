# SPDX-License-Identifier: GPL-2.0
"""Files, through all layers and through other file systems."""

from .case import Case, Ratio


def stack():
    others = (
        ("erofs-4k", 2.0, None, 1.0, 1.3),
        ("erofs-64k", None, None, None, None),
        ("erofs-hc-4k", None, None, None, None),
        ("erofs-hc-64k", None, None, None, None),
        ("erofs-4k-file", None, None, None, None),
        ("erofs-64k-file", None, None, None, None),
        ("squashfs-4k", None, None, 1.5, None),
        ("squashfs-128k", 1.0, None, None, None),
        ("squashfs-zstd-128k", None, None, None, None),
    )
    for readers in (1, 2):
        plural = f"{readers} reader" + "s" * (readers > 1)
        yield Case(
            f"stack-order-{readers}",
            f"whole stack, cold: all files in order, {plural}",
            "stack",
            (
                *(Ratio(contender, floor, aim) for contender, floor, aim, _, _ in others),
                Ratio("best", 1.2, 1.5),
                Ratio("linear"),
                Ratio("baseline"),
            ),
        )
        yield Case(
            f"stack-rand-4k-{readers}",
            f"whole stack, cold: 4 KiB random in large files, {plural}",
            "stack",
            (
                *(Ratio(contender, floor, aim) for contender, _, _, floor, aim in others),
                Ratio("best"),
                Ratio("linear"),
                Ratio("baseline"),
            ),
        )


CASES = (*stack(),)
