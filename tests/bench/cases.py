# SPDX-License-Identifier: GPL-2.0
"""The table of cases with their floors and aims.

A floor is a ratio that must hold, an aim one that is desired, of two figures of one run. Both are
printed with the figures and never enforced, since speed depends on the host. This module measures
nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """ours / other: more is better, unless a field says otherwise."""

    other: str
    floor: float | None = None
    aim: float | None = None
    # The figures are costs: the ratio must be at most the floor.
    most: bool = False
    # The figures are times: the ratio is other / ours, the factor by which ours is faster.
    inverse: bool = False
    # The floor holds where the kernel uses the processor's own instructions, which User-mode Linux
    # does not.
    native: bool = False


@dataclass(frozen=True)
class Case:
    """One figure of each contender."""

    name: str
    title: str
    group: str
    ratios: tuple[Ratio, ...] = ()


def _zfile():
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


def _verify():
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


def _blocks():
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


def _zstd():
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


def _decompress():
    for kib in (4, 16, 64):
        yield Case(
            f"decompress-{kib}k",
            f"LZ4 alone, {kib} KiB blocks, in the kernel",
            "decompress",
            (Ratio("kernel", *((0.9, 1.0) if kib == 4 else ())),),
        )


def _lsmt():
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


def _index():
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


def _create():
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


def _stack():
    others = (
        ("erofs-4k", 2.0, None, 1.0, 1.3),
        ("erofs-64k", None, None, None, None),
        ("squashfs-4k", None, None, 1.5, None),
        ("squashfs-128k", 1.0, None, None, None),
    )
    for readers in (1, 2):
        plural = f"{readers} reader" + "s" * (readers > 1)
        yield Case(
            f"stack-order-{readers}",
            f"whole stack, cold: all files in order, {plural}",
            "stack",
            (
                *(Ratio(contender, floor, aim) for contender, floor, aim, _, _ in others),
                Ratio("best", None, 1.5),
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


CASES = (
    *_zfile(),
    *_verify(),
    *_blocks(),
    *_zstd(),
    *_decompress(),
    *_lsmt(),
    *_index(),
    *_create(),
    *_stack(),
)

# In each round the fastest of these is the contender "best".
COMPRESSED = ("erofs-4k", "erofs-64k", "squashfs-4k", "squashfs-128k")

# The names of the contenders in tables and pictures.
NAMES = {
    "ours": "dm-overlaybd",
    "baseline": "baseline module",
    "linear": "dm-linear, uncompressed",
    "verity": "dm-verity, uncompressed",
    "ramdisk": "ramdisk, uncompressed",
    "unchecked": "without checksums",
    "uncached": "without the block cache",
    "once": "once a block",
    "alone": "the kernel's ZSTD x CPUs",
    "together": "the kernel's ZSTD on all CPUs at once",
    "kernel": "the kernel's LZ4_decompress_safe",
    "binary-search": "plain binary search",
    "allowed": "what is allowed",
    "count": "of that, counting",
    "fill": "of that, filling",
    "index-read": "reading its index",
    "erofs-4k": "EROFS LZ4 4K",
    "erofs-64k": "EROFS LZ4 64K",
    "squashfs-4k": "squashfs LZ4 4K",
    "squashfs-128k": "squashfs LZ4 128K",
    "best": "the fastest of EROFS and squashfs",
    "cached": "all in the page cache",
}
