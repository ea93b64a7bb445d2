# SPDX-License-Identifier: GPL-2.0
"""Draws the figures of a run. All figures come from report.summarise()."""

import matplotlib

matplotlib.use("Agg")
# pylint: disable=wrong-import-position
import matplotlib.pyplot as plt  # noqa: E402

from cases import COMPRESSED, NAMES  # noqa: E402

GOOD, BAD, PLAIN = "#2a7f62", "#b5432e", "#5b6f8f"
COLOURS = {
    "ours": "#1f4e8c",
    "baseline": "#d08a2e",
    "linear": "#8a9ba8",
    "verity": "#c9b37e",
    "ramdisk": "#c3ccd3",
    "erofs-4k": "#6a994e",
    "erofs-64k": "#a7c957",
    "erofs-hc-4k": "#4c7a3f",
    "erofs-hc-64k": "#8aa63f",
    "erofs-4k-file": "#86a873",
    "erofs-64k-file": "#c5d99a",
    "squashfs-4k": "#8e5572",
    "squashfs-128k": "#bc8da7",
    "squashfs-zstd-128k": "#d9bfcc",
    "kernel": "#d08a2e",
    "binary-search": "#8a9ba8",
}


def save(figure, path):
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def whiskers(figure):
    return [[figure["median"] - figure["min"]], [figure["max"] - figure["median"]]]


def floors(cases, path, subtitle):
    """Draws every ratio with a floor or an aim, in units of it: right of 1 is good."""
    rows = []
    for case in cases:
        for ratio in case["ratios"]:
            floor = ratio["floor"] or ratio["aim"]
            if floor:
                scale = (
                    (lambda value, f=floor: f / value)
                    if ratio["most"]
                    else (lambda value, f=floor: value / f)
                )
                ends = sorted((scale(ratio["min"]), scale(ratio["max"])))
                aim = ratio["aim"] and scale(ratio["aim"])
                sign = "≤" if ratio["most"] else "≥"
                what = f"{sign} {floor:g} × {NAMES.get(ratio['to'], ratio['to'])}"
                if not ratio["floor"]:
                    what += " (aim)"
                rows.append(
                    (
                        f"{case['title']}: {what}",
                        scale(ratio["median"]),
                        ends,
                        aim if ratio["floor"] and ratio["aim"] else None,
                        bool(ratio["floor"]),
                        ratio["median"],
                    )
                )
    if not rows:
        return False
    figure, axis = plt.subplots(figsize=(11, 0.27 * len(rows) + 1.2))
    for place, (_, value, ends, aim, is_floor, shown) in enumerate(rows):
        colour = (GOOD if value >= 1 else BAD) if is_floor else PLAIN
        axis.barh(place, value, color=colour, height=0.7)
        axis.errorbar(
            value,
            place,
            xerr=[[max(0, value - ends[0])], [max(0, ends[1] - value)]],
            color="black",
            capsize=2,
            linewidth=1,
        )
        if aim:
            axis.plot([aim, aim], [place - 0.42, place + 0.42], color="black", linewidth=2)
        axis.annotate(
            f"{shown:.2f}",
            (0.012, place),
            xycoords=("axes fraction", "data"),
            va="center",
            color="white",
            fontsize=7,
            fontweight="bold",
        )
    axis.axvline(1, color="black", linestyle="--", linewidth=1)
    axis.set_xscale("log")
    axis.set_xlim(0.1, max(10, *(row[2][1] * 1.2 for row in rows)))
    axis.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
    axis.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel(
        "ratio / its floor (dashed: just reached; thick mark: the aim); whiskers: minimum and "
        f"maximum of the rounds\ngreen: holds, red: does not, blue: an aim only. {subtitle}",
        fontsize=8,
    )
    save(figure, path)
    return True


def grouped(
    cases, names, contenders, path, title, unit_of=None, scale=lambda value: value, log=False
):
    """Draws bars of all contenders for some cases: relative to `unit_of`, or absolute."""
    cases = [case for case in cases if case["case"] in names]
    contenders = [name for name in contenders if any(name in case["contenders"] for case in cases)]
    if not cases or not contenders:
        return False
    figure, axis = plt.subplots(figsize=(11, 4.2))
    width = 0.8 / len(contenders)
    for number, name in enumerate(contenders):
        for place, case in enumerate(cases):
            found = case["contenders"].get(name)
            unit = case["contenders"].get(unit_of, {}).get("median") if unit_of else 1
            if not found or not unit:
                continue
            values = {key: scale(found[key]) / unit for key in ("median", "min", "max")}
            at = place + (number - (len(contenders) - 1) / 2) * width
            axis.bar(
                at,
                values["median"],
                width * 0.94,
                color=COLOURS.get(name, PLAIN),
                label=NAMES.get(name, name) if place == 0 else None,
            )
            axis.errorbar(
                at, values["median"], yerr=whiskers(values), color="black", capsize=2, linewidth=0.8
            )
            axis.annotate(
                f"{values['median']:.2f}" if values["median"] < 10 else f"{values['median']:,.0f}",
                (at, values["max"]),
                textcoords="offset points",
                xytext=(0, 3),
                ha="center",
                fontsize=6,
            )
    if unit_of:
        axis.axhline(1, color="black", linestyle="--", linewidth=0.8)
    if log:
        axis.set_yscale("log")
    axis.set_xticks(
        range(len(cases)),
        [case["title"].replace(", ", ",\n").replace(": ", ":\n") for case in cases],
        fontsize=7,
    )
    axis.set_title(title, fontsize=10, loc="left")
    axis.legend(fontsize=7, frameon=False, ncols=min(4, len(contenders)))
    axis.margins(y=0.18)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    save(figure, path)
    return True


def over_bandwidth(cases, path):
    """Draws throughput over the bandwidth of the disk: ours, and the uncompressed image."""
    found = {case["case"]: case["contenders"] for case in cases}
    disks = [("80us-200", "200 MB/s"), ("80us-1000", "1 GB/s"), ("80us", "not limited")]
    panels = [
        ("seq-1m-1x1", "1 MiB in order, 1 at once"),
        ("rand-128k-16x1", "128 KiB random, 16 at once"),
    ]
    if not all(f"device-{disk}-{reads}" in found for disk, _ in disks for reads, _ in panels):
        return False
    figure, axes = plt.subplots(1, len(panels), figsize=(11, 3.6), sharey=True)
    for axis, (reads, title) in zip(axes, panels):
        for number, name in enumerate(("ours", "linear")):
            for place, (disk, _) in enumerate(disks):
                value = found[f"device-{disk}-{reads}"][name]
                at = place + (number - 0.5) * 0.4
                axis.bar(
                    at,
                    value["median"],
                    0.37,
                    color=COLOURS[name],
                    label=NAMES[name] if place == 0 else None,
                )
                axis.errorbar(
                    at,
                    value["median"],
                    yerr=whiskers(value),
                    color="black",
                    capsize=2,
                    linewidth=0.8,
                )
                axis.annotate(
                    f"{value['median']:,.0f}",
                    (at, value["max"]),
                    textcoords="offset points",
                    xytext=(0, 3),
                    ha="center",
                    fontsize=7,
                )
        axis.set_xticks(range(len(disks)), [label for _, label in disks], fontsize=8)
        axis.set_title(title, fontsize=9, loc="left")
        axis.margins(y=0.12)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_ylabel("MB/s of content", fontsize=8)
    axes[0].legend(fontsize=8, frameon=False)
    figure.supxlabel("bandwidth of the disk, which takes 80 µs for a read", fontsize=8)
    figure.tight_layout()
    save(figure, path)
    return True


def draw(cases, folder, subtitle):
    """Draws all pictures that have figures; returns their names."""
    plt.rcParams.update(
        {"svg.hashsalt": "dm-overlaybd", "font.family": "DejaVu Sans", "svg.fonttype": "path"}
    )
    patterns = [
        f"{pattern}-{readers}"
        for pattern in ("seq-1m", "rand-4k", "rand-128k")
        for readers in (1, 2)
    ]
    cpu = []
    for case in cases:
        contenders = {
            contender: {**figure["cpu_seconds_per_gib"]}
            for contender, figure in case["contenders"].items()
            if "cpu_seconds_per_gib" in figure
        }
        if contenders:
            cpu.append({**case, "contenders": contenders})
    stack = ["ours", "baseline", "linear", *COMPRESSED, "squashfs-zstd-128k"]
    zfile = ["ours", "baseline", "linear", "verity", "ramdisk"]
    on_devices = [case for case in cases if case["group"] == "devices"]
    others = [case for case in cases if case["group"] != "devices"]
    pictures = {
        "floors.svg": lambda path: floors(others, path, subtitle),
        "devices.svg": lambda path: floors(on_devices, path, subtitle),
        "bandwidth.svg": lambda path: over_bandwidth(on_devices, path),
        "zfile.svg": lambda path: grouped(
            cases,
            patterns,
            zfile,
            path,
            "zfile_target, LZ4 4 KiB, direct I/O: throughput, dm-linear over the "
            "uncompressed image = 1 (more is better)",
            "linear",
        ),
        "stack.svg": lambda path: grouped(
            cases,
            [f"stack-{kind}-{n}" for kind in ("order", "rand-4k") for n in (1, 2)],
            stack,
            path,
            "ext4 over lsmt_target over zfile_target, cold: throughput, "
            "EROFS LZ4 4K = 1 (more is better)",
            "erofs-4k",
        ),
        "index.svg": lambda path: grouped(
            cases,
            [
                "lookup-1k",
                "lookup-100k",
                "lookup-1m",
                "lookup-apart-1k",
                "lookup-apart-100k",
                "lookup-apart-1m",
            ],
            ["ours", "binary-search"],
            path,
            "looking a sector up: ns (less is better)",
            log=True,
        ),
        "decompress.svg": lambda path: grouped(
            cases,
            [f"decompress-{kib}k" for kib in (4, 16, 64)],
            ["ours", "kernel"],
            path,
            "LZ4 alone, in the kernel: MB/s of content (more is better)",
        ),
        "cpu-zfile.svg": lambda path: grouped(
            cpu,
            patterns,
            zfile,
            path,
            "zfile_target: CPU seconds for a GiB read (less is better)",
            log=True,
        ),
        "cpu-stack.svg": lambda path: grouped(
            cpu,
            [f"stack-order-{n}" for n in (1, 2)],
            stack,
            path,
            "whole stack, all files in order: CPU seconds for a GiB read " "(less is better)",
        ),
    }
    return [name for name, picture in pictures.items() if picture(folder / name)]
