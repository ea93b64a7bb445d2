# SPDX-License-Identifier: GPL-2.0
"""The table of cases with their floors and aims.

A floor is a ratio that must hold, an aim one that is desired, of two figures of one run. Both are
printed with the figures and never enforced, since speed depends on the host. This package measures
nothing.
"""

from . import creation, index, stack, targets

CASES = (*targets.CASES, *index.CASES, *creation.CASES, *stack.CASES)

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
