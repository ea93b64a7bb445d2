# SPDX-License-Identifier: GPL-2.0
"""Programs that start from a root file system that is in no cache."""

from .case import Case, Ratio

PEERS = ("erofs-4k", "erofs-hc-64k", "squashfs-4k", "squashfs-128k", "squashfs-zstd-128k")


def cold():
    for device, title, floor, aim in (
        ("ram", "ramdisk", None, None),
        ("80us", "disk of 80 us", 1.0, 1.2),
        ("200mb", "disk of 80 us and 200 MB/s", 1.0, 1.2),
    ):
        yield Case(
            f"cold-{device}",
            f"cold start of four programs, {title}",
            "cold",
            (
                *(Ratio(peer, inverse=True) for peer in PEERS),
                Ratio("best", floor, aim, inverse=True),
                Ratio("linear", floor, aim, inverse=True),
            ),
        )
    yield Case(
        "cold-80us-bytes",
        "cold start: read from the disk",
        "cold",
        (
            Ratio("erofs-4k", 1.0, 0.95, most=True),
            *(Ratio(other, most=True) for other in (*PEERS[1:], "linear")),
        ),
    )
    yield Case("cold-80us-reads", "cold start: reads of the disk", "cold")
    for loop in ("direct", "buffered"):
        yield Case(
            f"cold-{loop}",
            f"cold start of four programs, {loop} loop devices on a disk of 80 us",
            "cold",
            (Ratio("erofs-4k", inverse=True),),
        )
        yield Case(
            f"cold-{loop}-bytes",
            f"cold start, {loop} loop devices: read from the disk",
            "cold",
            (Ratio("erofs-4k", most=True),),
        )


CASES = (*cold(),)
