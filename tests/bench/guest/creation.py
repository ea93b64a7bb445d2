# SPDX-License-Identifier: GPL-2.0
"""The group that creates targets: the time it takes, and the memory they hold."""

from system import SECTOR, memory


def group_create(bench):
    """The time to create targets, and the memory they hold."""
    million = bench.images["million"]
    table = bench.zfile_table("million")
    image = bench.zfile_table("lz4-4k")
    disk = bench.disks.get("million")
    end = million["bytes"] - SECTOR
    start = end - 4 * million["blocks"]
    first = start // 4096 * 4096
    for _ in bench.rounds("create"):
        for contender in bench.contenders():
            bench.module(contender)
            for case, lines in (("create-million", table), ("create-image", image)):
                done = bench.reader("create", "c", lines, "--count", 5)
                bench.sample(case, contender, done["ns"] / 1e6, "ms")
        # An old file has no checksum of its index, so creation computes it.
        bench.module("ours")
        done = bench.reader("create", "c", bench.zfile_table("million-old"), "--count", 5)
        bench.sample("create-million-old", "ours", done["ns"] / 1e6, "ms")
        # The range of the index alone, in one read, repeated.
        span = million["bytes"] // 4096 * 4096 - first
        done = bench.reader(
            "device",
            disk,
            "--from",
            first,
            "--limit",
            first + span,
            "--bytes",
            span,
            "--seconds",
            0.05,
        )
        for case in ("create-million", "create-million-old"):
            bench.sample(case, "index-read", done["ns"] / done["reads"] / 1e6, "ms")
        # The cost of a table that reads nothing.
        done = bench.reader("create", "c", f"0 8 linear {disk} 0", "--count", 20)
        bench.sample("create-million", "linear", done["ns"] / 1e6, "ms")
    for image in ("million", "lz4-4k", "lz4-16k", "lz4-64k", "zstd-64k"):
        table = bench.zfile_table(image)
        for contender in bench.contenders():
            if contender != "ours" and not image.startswith("lz4-4k"):
                # The baseline may not support other blocks.
                continue
            bench.module(contender)
            before = memory()
            bench.create("z", table)
            after = memory()
            held = sum(after[kind] - before[kind] for kind in ("Slab", "VmallocUsed", "Percpu"))
            content = bench.images[image]["content"]
            bench.sample(
                f"memory-gib-{image}", contender, held / (content / (1 << 30)) / 1024, "KiB/GiB"
            )
            status = bench.status("z")
            if contender == "ours":
                # Blocks are in groups of 64; the last group may not be full.
                groups = -(-status["blocks"] // 64)
                bench.sample(
                    f"memory-block-{image}",
                    contender,
                    status["index_bytes"] / (groups * 64),
                    "bytes",
                )
                bench.sample(f"memory-block-{image}", "allowed", 2.25, "bytes")
            bench.remove("z")
        if image != "lz4-4k":
            bench.disks.release(keep=["lz4-4k"])


GROUPS = {"create": group_create}
