# SPDX-License-Identifier: GPL-2.0
"""The group that reads files, through all layers and through other file systems."""

import ctypes
import os

from system import MNT, SECTOR, drop_caches, read, run

MS_RDONLY = 1


def mount(kind, source, where):
    """Mounts a device, or a file. Not by mount(8), which makes a loop device for a file."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_char_p(word.encode()) for word in (source, where, kind)]
    if libc.mount(*words, ctypes.c_ulong(MS_RDONLY), None):
        raise RuntimeError(f"mount {source}: {os.strerror(ctypes.get_errno())}")


def group_stack(bench):
    """Uncached files, through ext4 on a stack of layers and through compressed file systems."""
    content = bench.images["ext4"]["bytes"]
    # One layer for the baseline, which may not support more.
    layers = {"ours": ["layer3.0", "layer3.1", "layer3.2"], "baseline": ["layer1.0"]}
    raw = bench.disks.get("ext4")
    plain = {
        name: bench.disks.get(name)
        for name in bench.plan["needs"]["stack"]
        if name.startswith(("erofs-", "squashfs-"))
    }
    plain |= {f"{name}-file": bench.disks.file(name) for name in bench.plan["as_files"]["stack"]}
    for contender in bench.contenders():
        for layer in layers[contender]:
            bench.disks.get(layer)
    where = f"{MNT}/image"
    os.makedirs(where, exist_ok=True)
    seconds = bench.plan["seconds"]
    lists = {}
    for name in ("list", "list-large"):
        lists[name] = f"{MNT}/{name}"
        with open(lists[name], "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(
                f"{where}/{line}\n" for line in read(bench.images[name]["path"]).splitlines()
            )
    # The baseline may not support such images.
    broken = set()
    for _ in bench.rounds("stack"):
        for contender in bench.contenders() + ["linear", *plain]:
            if contender in broken:
                continue
            made = []
            if contender in plain:
                device, kind = plain[contender], contender.split("-", 1)[0]
            elif contender == "linear":
                device, kind = bench.create("l", f"0 {content // SECTOR} linear {raw} 0"), "ext4"
                made = ["l"]
            else:
                bench.module(contender)
                kind = "ext4"
                table = f"0 {content // SECTOR} lsmt_target"
                for n, layer in enumerate(layers[contender]):
                    device = bench.create(f"z{n}", bench.zfile_table(layer))
                    table += f" {device} {bench.images[layer]['content']}"
                device = bench.create("m", table)
                made = ["m", *(f"z{n}" for n in range(len(layers[contender])))]
            try:
                if bench.round == 0 and kind == "ext4":
                    bench.check(contender, device, "ext4")
                mount(kind, device, where)
            except RuntimeError as error:
                if contender in ("ours", *plain):
                    raise
                print(f"NOTE {contender} is left out of the stack: {error}", flush=True)
                broken.add(contender)
                bench.remove(*made)
                continue
            try:
                for readers in (1, 2):
                    drop_caches()
                    done = bench.read_files(lists["list"], readers)
                    bench.sample(
                        f"stack-order-{readers}",
                        contender,
                        done["bytes"] / done["ns"] * 1e3,
                        "MB/s",
                        cpu_per_gib=done["cpu"] / (done["bytes"] / (1 << 30)),
                    )
                    if contender == "linear":
                        # All in the page cache: the part of the times that is not the read.
                        done = bench.read_files(lists["list"], readers)
                        bench.sample(
                            f"stack-order-{readers}",
                            "cached",
                            done["bytes"] / done["ns"] * 1e3,
                            "MB/s",
                        )
                    drop_caches()
                    done = bench.read_files(lists["list-large"], readers, int(8000 * seconds))
                    bench.sample(
                        f"stack-rand-4k-{readers}",
                        contender,
                        done["reads"] / done["ns"] * 1e9,
                        "reads/s",
                        cpu_per_gib=done["cpu"] / (done["bytes"] / (1 << 30)),
                    )
            finally:
                run("umount", where)
            bench.remove(*made)
    bench.disks.release(keep=["lz4-4k"])


GROUPS = {"stack": group_stack}
