# SPDX-License-Identifier: GPL-2.0
"""Groups that read from a target itself, on ramdisks, and from its decompressor."""

from system import MIB, SECTOR, run


def group_zfile(bench):
    """A ZFile, and the uncompressed image on a ramdisk, below dm-linear and below dm-verity."""
    content = bench.images["ext4"]["bytes"]
    sectors = content // SECTOR
    zfile, raw = bench.zfile_table("lz4-4k"), bench.disks.get("ext4")
    verity = bench.images["verity"]
    hashes = bench.disks.get("verity")
    for _ in bench.rounds("zfile"):
        for contender in bench.contenders():
            bench.module(contender)
            device = bench.create("z", zfile)
            if bench.round == 0:
                bench.check(contender, device, "ext4")
            bench.cells("", contender, device, content)
            if bench.round == 0:
                bench.sample(
                    "zfile-status", contender, run("dmsetup", "status", "z").strip(), "text"
                )
            bench.remove("z")
        device = bench.create("l", f"0 {sectors} linear {raw} 0")
        bench.cells("", "linear", device, content)
        bench.remove("l")
        device = bench.create(
            "v",
            f"0 {sectors} verity 1 {raw} {hashes} 4096 4096 {sectors // 8} 0 sha256 "
            f"{verity['root']} -",
        )
        bench.cells("", "verity", device, content)
        bench.remove("v")
        bench.cells("", "ramdisk", raw, content)
    bench.disks.release(keep=["ext4"])


def group_verify(bench):
    """The cost of checking the CRC of each block."""
    tables = {"ours": bench.zfile_table("lz4-4k-crc"), "unchecked": bench.zfile_table("lz4-4k")}
    content = bench.images["ext4"]["bytes"]
    bench.module("ours")
    for _ in bench.rounds("verify"):
        for contender, table in tables.items():
            device = bench.create("z", table)
            bench.cells("verify-", contender, device, content)
            bench.remove("z")
    bench.disks.release(keep=["lz4-4k"])


def group_blocks(bench):
    """Blocks larger than reads: each must be decompressed once, and cached ones must be fast."""
    # A build without the block cache has no such parameter.
    cached = "block_cache_kib" in bench.plan["modules"]["ours"]["parameters"]
    for kib in (16, 64):
        image = f"lz4-{kib}k"
        table = bench.zfile_table(image)
        blocks = bench.plan["sequential"] // 8 // (kib << 10)
        for _ in bench.rounds(f"{kib} KiB blocks"):
            for contender, parameters in (("ours", ()), ("uncached", ("block_cache_kib=0",))):
                if contender == "uncached" and not cached:
                    continue
                bench.module("ours", *parameters)
                device = bench.create("z", table)
                before = bench.status("z").get("blocks_decompressed")
                bench.bandwidth(
                    f"blocks-{kib}k-seq-4k",
                    contender,
                    "device",
                    device,
                    "--bytes",
                    4096,
                    "--limit",
                    blocks * (kib << 10),
                )
                after = bench.status("z").get("blocks_decompressed")
                if before is not None and after is not None:
                    bench.sample(
                        f"blocks-{kib}k-count", contender, (after - before) / blocks, "per block"
                    )
                    bench.sample(f"blocks-{kib}k-count", "once", 1, "per block")
                # A hot set of eight blocks in the middle of the image.
                bench.rate(
                    f"blocks-{kib}k-warm",
                    contender,
                    "device",
                    device,
                    "--bytes",
                    4096,
                    "--from",
                    blocks // 2 * (kib << 10),
                    "--limit",
                    (blocks // 2 + 8) * (kib << 10),
                    "--seconds",
                    bench.plan["seconds"],
                    "--seed",
                    bench.round + 1,
                )
                bench.remove("z")
        bench.disks.release(keep=["lz4-4k"])


def group_zstd(bench):
    """ZSTD through the target, and the kernel's decompressor alone."""
    table = bench.zfile_table("zstd-64k")
    content = bench.images["ext4"]["bytes"]
    sample = bench.images["sample-zstd-64k"]
    bench.module("ours")
    for _ in bench.rounds("zstd"):
        device = bench.create("z", table)
        for readers in (1, bench.plan["cpus"]):
            bench.bandwidth(
                f"zstd-seq-1m-{'all' if readers > 1 else 1}",
                "ours",
                "device",
                device,
                "--bytes",
                MIB,
                "--readers",
                readers,
                "--limit",
                content,
                "--total",
                bench.plan["sequential"] // 2,
            )
        bench.remove("z")
        alone = bench.decompress(sample, 1)["zstd"]
        together = bench.decompress(sample, bench.plan["cpus"])["zstd"]
        for case in ("zstd-seq-1m-1", "zstd-seq-1m-all"):
            bench.sample(case, "alone", alone * bench.plan["cpus"], "MB/s")
            bench.sample(case, "together", together, "MB/s")
    bench.disks.release(keep=["lz4-4k"])


def group_decompress(bench):
    """Our LZ4 decoder and the kernel's, over real blocks, in the kernel, without I/O."""
    for _ in bench.rounds("decompress"):
        for kib in (4, 16, 64):
            for contender, value in bench.decompress(bench.images[f"sample-lz4-{kib}k"], 1).items():
                bench.sample(f"decompress-{kib}k", contender, value, "MB/s")


def group_lsmt(bench):
    """Many merged segments, and dm-linear over the same ramdisks."""
    layers = [bench.images[f"segments.{n}"] for n in range(2)]
    devices = [bench.disks.get(f"segments.{n}") for n in range(2)]
    content = layers[0]["content"]
    table = f"0 {content // SECTOR} lsmt_target " + " ".join(
        f"{device} {layer['bytes']}" for device, layer in zip(devices, layers)
    )
    linear, at = [], 0
    for device, layer in zip(devices, layers):
        sectors = min(layer["bytes"] // 4096 * 8, content // SECTOR - at)
        linear.append(f"{at} {sectors} linear {device} 0")
        at += sectors
    for _ in bench.rounds("lsmt"):
        # Without the baseline: it may not support more than one layer.
        for contender in ("ours", "linear"):
            if contender == "linear":
                device = bench.create("m", "\n".join(linear))
            else:
                bench.module(contender)
                device = bench.create("m", table)
            for readers in (1, 2):
                bench.rate(
                    f"lsmt-rand-4k-{readers}",
                    contender,
                    "device",
                    device,
                    "--bytes",
                    4096,
                    "--limit",
                    at * SECTOR,
                    "--readers",
                    readers,
                    "--seconds",
                    bench.plan["seconds"],
                    "--seed",
                    bench.round + 1,
                )
            if contender == "ours":
                status = bench.status("m")
                bench.sample(
                    "memory-segment", contender, status["index_bytes"] / status["segments"], "bytes"
                )
                bench.sample("memory-segment", "allowed", 16, "bytes")
                bench.sample("lsmt-segments", contender, status["segments"], "segments")
            bench.remove("m")
    bench.disks.release(keep=["lz4-4k"])


GROUPS = {
    "zfile": group_zfile,
    "verify": group_verify,
    "blocks": group_blocks,
    "zstd": group_zstd,
    "decompress": group_decompress,
    "lsmt": group_lsmt,
}
