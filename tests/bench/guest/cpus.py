# SPDX-License-Identifier: GPL-2.0
"""The group that reads one device from many CPUs."""

from system import SECTOR


def group_cpus(bench):
    """A ZFile, and the uncompressed image below dm-linear: one reader, and one on each CPU."""
    content = bench.images["ext4"]["bytes"]
    zfile, raw = bench.zfile_table("lz4-4k"), bench.disks.get("ext4")
    tables = {
        **dict.fromkeys(bench.contenders(), zfile),
        "linear": f"0 {content // SECTOR} linear {raw} 0",
    }
    for _ in bench.rounds("cpus"):
        for contender, table in tables.items():
            if contender != "linear":
                bench.module(contender)
            device = bench.create("d", table)
            rates = [
                bench.rate(
                    f"cpus-rand-4k-{readers}",
                    contender,
                    "device",
                    device,
                    "--bytes",
                    4096,
                    "--readers",
                    readers,
                    "--limit",
                    content,
                    "--seconds",
                    bench.plan["seconds"],
                    "--seed",
                    bench.round + 1,
                )
                for readers in (1, bench.plan["cpus"])
            ]
            bench.sample("cpus-growth", contender, rates[1] / rates[0], "times")
            bench.remove("d")
    bench.disks.release()


GROUPS = {"cpus": group_cpus}
