# SPDX-License-Identifier: GPL-2.0
"""Reads from a target itself, on ramdisks, and decompression alone."""

from .case import Case, Ratio


def zfile():
    for readers in (1, 2):
        plural = f"{readers} reader" + "s" * (readers > 1)
        yield Case(
            f"seq-1m-{readers}",
            f"1 MiB sequential, {plural}",
            "zfile",
            (
                Ratio("baseline", 2.5, 3.0),
                Ratio("linear", None, 0.85),
                Ratio("verity"),
                Ratio("ramdisk"),
            ),
        )
        yield Case(
            f"rand-4k-{readers}",
            f"4 KiB random, {plural}",
            "zfile",
            (Ratio("baseline", 1.9), Ratio("linear", 0.75, 0.9), Ratio("verity"), Ratio("ramdisk")),
        )
        yield Case(
            f"rand-128k-{readers}",
            f"128 KiB random, {plural}",
            "zfile",
            (
                Ratio("baseline", {1: 1.8, 2: 2.5}[readers]),
                Ratio("linear", None, 0.85),
                Ratio("verity"),
                Ratio("ramdisk"),
            ),
        )


def verify():
    for pattern, title in (
        ("seq-1m", "1 MiB sequential"),
        ("rand-4k", "4 KiB random"),
        ("rand-128k", "128 KiB random"),
    ):
        for readers in (1, 2):
            yield Case(
                f"verify-{pattern}-{readers}",
                f"checksums, {title}, {readers} reader" + "s" * (readers > 1),
                "verify",
                (Ratio("unchecked", 0.9, native=True),),
            )


def blocks():
    for kib in (16, 64):
        yield Case(
            f"blocks-{kib}k-count",
            f"{kib} KiB blocks, in order by 4 KiB: decompressions",
            "blocks",
            (Ratio("once", 1.0, most=True),),
        )
        yield Case(
            f"blocks-{kib}k-seq-4k",
            f"{kib} KiB blocks, in order by 4 KiB",
            "blocks",
            (Ratio("uncached"),),
        )
        yield Case(
            f"blocks-{kib}k-warm",
            f"{kib} KiB blocks, 4 KiB random, warm",
            "blocks",
            (Ratio("uncached", 2.0),),
        )


def zstd():
    yield Case(
        "zstd-seq-1m-1",
        "ZSTD 64 KiB, 1 MiB sequential, 1 reader",
        "zstd",
        (Ratio("alone", 0.9), Ratio("together")),
    )
    yield Case(
        "zstd-seq-1m-all",
        "ZSTD 64 KiB, 1 MiB sequential, a reader a CPU",
        "zstd",
        (Ratio("alone", 0.9), Ratio("together")),
    )


def decompress():
    for kib in (4, 16, 64):
        yield Case(
            f"decompress-{kib}k",
            f"LZ4 alone, {kib} KiB blocks, in the kernel",
            "decompress",
            (Ratio("kernel", *((0.92, 1.0) if kib in (4, 64) else ())),),
        )


def lsmt():
    for readers in (1, 2):
        yield Case(
            f"lsmt-rand-4k-{readers}",
            f"lsmt_target, 4 KiB random, {readers} reader" + "s" * (readers > 1),
            "lsmt",
            (Ratio("linear", 0.95, 0.98),),
        )
    yield Case(
        "memory-segment", "memory of a merged segment", "lsmt", (Ratio("allowed", 1.0, most=True),)
    )


CASES = (*zfile(), *verify(), *blocks(), *zstd(), *decompress(), *lsmt())
