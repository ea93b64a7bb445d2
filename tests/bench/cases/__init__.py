# SPDX-License-Identifier: GPL-2.0
"""The table of cases with their floors and aims.

A floor is a ratio that must hold, an aim one that is desired, of two figures of one run. Both are
printed with the figures and never enforced, since speed depends on the host. This package measures
nothing.
"""

from . import cold, cpus, creation, devices, index, loops, peer, scale, stack, targets

CASES = (
    *targets.CASES,
    *devices.CASES,
    *index.CASES,
    *creation.CASES,
    *stack.CASES,
    *cold.CASES,
    *loops.CASES,
    *cpus.CASES,
    *scale.CASES,
    *peer.CASES,
)

# In each round the fastest of these is the contender "best". Their algorithm is that of our layers.
COMPRESSED = (
    "erofs-4k",
    "erofs-64k",
    "erofs-hc-4k",
    "erofs-hc-64k",
    "erofs-4k-file",
    "erofs-64k-file",
    "squashfs-4k",
    "squashfs-128k",
)

# The names of the contenders in tables and pictures.
NAMES = {
    "ours": "dm-overlaybd",
    "baseline": "baseline module",
    "linear": "dm-linear, uncompressed",
    "linear-by-size": "dm-linear, times size / compressed size",
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
    "erofs-hc-4k": "EROFS LZ4HC 4K",
    "erofs-hc-64k": "EROFS LZ4HC 64K",
    "erofs-4k-file": "EROFS LZ4 4K, from a file",
    "erofs-64k-file": "EROFS LZ4 64K, from a file",
    "squashfs-4k": "squashfs LZ4 4K",
    "squashfs-128k": "squashfs LZ4 128K",
    "squashfs-zstd-128k": "squashfs ZSTD 128K",
    "best": "the fastest of EROFS and squashfs, LZ4",
    "direct-512": "direct, reads ahead 512 KiB",
    "buffered": "buffered",
    "buffered-512-above": "buffered, reads ahead 512 KiB above",
    "buffered-512-below": "buffered, reads ahead 512 KiB below",
    "buffered-512": "buffered, reads ahead 512 KiB both",
    "buffered-0-below": "buffered, reads ahead nothing below",
    "cached": "all in the page cache",
    "one": "the only image",
    "peer": "the process in user space",
    "peer-apart": "the process, not on the first CPU",
    "ramdisks": "dm-overlaybd, over ramdisks",
    "first": "the first tenth",
    "documented": "what is documented",
}
