# SPDX-License-Identifier: GPL-2.0
"""The creation of targets, and the memory they hold."""

from .case import Case, Ratio


def create():
    yield Case(
        "create-million",
        "create of a ZFile with 1,000,000 blocks",
        "create",
        (Ratio("index-read", 2.0, most=True), Ratio("baseline", most=True)),
    )
    yield Case(
        "create-million-old",
        "the same without a checksum of the index",
        "create",
        (Ratio("index-read", 2.0, most=True),),
    )
    yield Case(
        "create-image",
        "create of the ZFile of the image",
        "create",
        (Ratio("baseline", most=True),),
    )
    for image, title in (
        ("million", "LZ4 4 KiB, a million"),
        ("lz4-4k", "LZ4 4 KiB"),
        ("lz4-16k", "LZ4 16 KiB"),
        ("lz4-64k", "LZ4 64 KiB"),
        ("zstd-64k", "ZSTD 64 KiB"),
    ):
        yield Case(
            f"memory-block-{image}",
            f"jump table, {title}: memory of a block",
            "create",
            (Ratio("allowed", 1.0, most=True),),
        )
        yield Case(
            f"memory-gib-{image}", f"target, {title}: kernel memory for a GiB of image", "create"
        )


CASES = (*create(),)
