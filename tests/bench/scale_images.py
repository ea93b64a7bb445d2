# SPDX-License-Identifier: GPL-2.0
"""The images for many devices, and for one of many layers. tests/bench/images.py keeps them."""

import shutil

from runner.host import output_or_fail

MIB = 1 << 20


def crowd(maker, name):
    """The start of the ext4 image, and the same as ten layers, for devices in great number."""
    content = maker.path("crowd-content")
    with open(maker.get("ext4")["path"], "rb") as file:
        content.write_bytes(file.read((8 if maker.quick else 64) * MIB))
    if name == "crowd-content":
        return {"bytes": content.stat().st_size}
    lines = output_or_fail(
        maker.mkimage,
        "split",
        maker.path("crowd"),
        "--content",
        content,
        "--layers",
        10,
        "--no-verify",
    ).splitlines()
    return maker.several("crowd", [line.split()[1] for line in lines])


def deep(maker, name):
    """As many layers as a target takes, one after the other in one file."""
    folder, count = maker.path("deep.layers"), 20_000 if maker.quick else 1_000_000
    folder.mkdir(exist_ok=True)
    sizes = ["--segments", count, "--layers", 255, "--most", 1, "--unit", 512]
    *_, total = output_or_fail(maker.mkimage, "segments", folder / "layer", *sizes).splitlines()
    layers = []
    with open(maker.path(name), "wb") as file:
        for n in range(255):
            layer = (folder / f"layer.{n}").read_bytes()
            layers.append((file.tell() // 512, len(layer)))
            file.write(layer.ljust(-(-len(layer) // 4096) * 4096, b"\0"))
    shutil.rmtree(folder)
    return {
        "bytes": maker.path(name).stat().st_size,
        "content": int(total),
        "layers": layers,
        "segments": count,
    }
