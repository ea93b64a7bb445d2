# SPDX-License-Identifier: GPL-2.0
"""The group with many devices at once, and with one of many layers."""

import json
import os
import time

from system import MNT, SECTOR, drop_caches, memory, read, run

LAYERS = 10
LIST = f"{MNT}/devices"
CONFIG = f"{MNT}/config.v1.json"


def node(name):
    """The node that devtmpfs has of a device: nothing makes one with its name."""
    for kernel_name in os.listdir("/sys/block"):
        try:
            if read(f"/sys/block/{kernel_name}/dm/name").strip() == name:
                return f"/dev/{kernel_name}"
        except FileNotFoundError:
            pass
    raise RuntimeError(f"there is no device {name}")


def crowd(bench, task, lines, *options):
    """Creates or removes the devices of these lines. Returns the times."""
    with open(LIST, "w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in lines)
    return json.loads(run(bench.plan["crowd"], task, LIST, *options))


def overlaybd_image(bench, number):
    """An image: its layers are ZFiles, each a device, and so is the stack of them."""
    stack = f"0 {bench.images['crowd-content']['bytes'] // SECTOR} lsmt_target"
    for layer in range(LAYERS):
        facts = bench.images[f"crowd.{layer}"]
        # The program looks at all devices whose names begin like this.
        name = f"overlaybd-layer-{number}-{layer}"
        yield f"{name} {bench.zfile_table(f'crowd.{layer}')}"
        stack += f" @{name} {facts['content']}"
    yield f"i{number} {stack}"


def linear_image(bench, number):
    """As many devices, on each other in the same way, of targets that keep and read nothing."""
    sectors = min(bench.images[f"crowd.{layer}"]["bytes"] for layer in range(LAYERS)) // SECTOR
    parts = []
    for layer in range(LAYERS):
        disk = bench.disks.get(f"crowd.{layer}")
        yield f"i{number}-{layer} 0 {sectors} linear {disk} 0"
        parts.append(f"{layer * sectors} {sectors} linear @i{number}-{layer} 0")
    yield f"i{number} {';'.join(parts)}"


def prepare_program(bench):
    """The layers as files, for overlaybdsetup."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    lowers = []
    for layer in range(LAYERS):
        facts = bench.images[f"crowd.{layer}"]
        lowers.append({"file": f"{MNT}/crowd.{layer}"})
        run("dd", f"if={facts['path']}", f"of={lowers[-1]['file']}", "bs=4M", "status=none")
        os.truncate(lowers[-1]["file"], facts["bytes"])
    with open(CONFIG, "w", encoding="ascii") as file:
        json.dump({"repoBlobUrl": "", "lowers": lowers, "resultFile": ""}, file)


def program(bench, contender):
    """Opens and closes one more image with overlaybdsetup."""
    for case, arguments in (
        ("scale-program-open", ("open", "--config", CONFIG, "image")),
        ("scale-program-close", ("close", "image")),
    ):
        begin = time.monotonic()
        run(bench.plan["overlaybdsetup"], *arguments)
        bench.sample(case, contender, (time.monotonic() - begin) * 1e3, "ms")


def free_memory():
    drop_caches()
    return memory()["MemFree"]


def many(bench):
    """All images: the time and the memory of a device, and reads of one image among all."""
    count = bench.plan["crowd_images"]
    content = bench.images["crowd-content"]["bytes"]
    bench.module("ours")
    prepare_program(bench)
    for _ in bench.rounds(f"{count} images of {LAYERS} layers", 3):
        for contender, image in (("ours", overlaybd_image), ("linear", linear_image)):
            first = list(image(bench, 0))
            others = [line for n in range(1, count) for line in image(bench, n)]
            crowd(bench, "create", first)
            reads = ["device", node("i0"), "--bytes", 4096, "--limit", content]
            reads += ["--seconds", bench.plan["seconds"], "--seed", bench.round + 1]
            if contender == "ours":
                if bench.round == 0:
                    bench.check(contender, node("i0"), "crowd-content")
                bench.rate("scale-rand-4k", "one", *reads)
                program(bench, "one")
            before = free_memory()
            made = crowd(bench, "create", others)
            held = before - free_memory()
            bench.sample("scale-create", contender, made["ns"] / 1e6, "ms")
            bench.sample("scale-memory", contender, held / made["devices"] / 1024, "KiB")
            if contender == "ours":
                bench.sample("scale-create-last", "ours", made["last_ns"] / 1e6, "ms")
                bench.sample("scale-create-last", "first", made["first_ns"] / 1e6, "ms")
                bench.rate("scale-rand-4k", "ours", *reads)
                program(bench, "ours")
            gone = crowd(bench, "remove", first + others, "--alone", "10")
            bench.sample("scale-remove", contender, gone["ns"] / 1e6, "ms")
            bench.sample("scale-remove-alone", contender, gone["alone_ns"] / 1e6, "ms")


def deep(bench):
    """One target of the most layers, and of a million segments after they are merged."""
    facts = bench.images["deep"]
    disk = bench.disks.get("deep")
    lower = [
        f"d{n} 0 {-(-size // SECTOR)} linear {disk} {first}"
        for n, (first, size) in enumerate(facts["layers"])
    ]
    crowd(bench, "create", lower)
    nodes = {
        read(f"/sys/block/{name}/dm/name").strip(): f"/dev/{name}"
        for name in os.listdir("/sys/block")
        if name.startswith("dm-")
    }
    table = f"0 {facts['content'] // SECTOR} lsmt_target " + " ".join(
        f"{nodes[f'd{n}']} {size}" for n, (_, size) in enumerate(facts["layers"])
    )
    for _ in bench.rounds(f"{len(lower)} layers"):
        done = bench.reader("create", "m", table, "--count", 3)
        bench.sample("scale-deep-create", "ours", done["ns"] / 1e6, "ms")
        bench.sample("scale-deep-create", "allowed", 2000, "ms")
        before = memory()
        bench.create("m", table)
        after = memory()
        held = sum(after[kind] - before[kind] for kind in ("Slab", "VmallocUsed", "Percpu"))
        status = bench.status("m")
        if status["layers"] != len(lower) or status["segments"] != facts["segments"]:
            raise RuntimeError(f"the target has other layers or segments: {status}")
        bench.sample("scale-deep-memory", "ours", held / status["segments"], "bytes")
        bench.sample("scale-deep-memory", "documented", 16, "bytes")
        bench.remove("m")
    crowd(bench, "remove", lower)


def group_scale(bench):
    many(bench)
    bench.disks.release()
    deep(bench)
    bench.disks.release()


GROUPS = {"scale": group_scale}
