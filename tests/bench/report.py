# SPDX-License-Identifier: GPL-2.0
"""Computes medians, ratios and a table from samples. It measures nothing and draws nothing."""

import statistics

from cases import CASES, COMPRESSED, NAMES


def spread(values):
    """The median, the minimum and the maximum."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "n": len(values),
    }


def summarise(samples, native):
    """For each case: the figure of each contender, and each ratio. Ratios are computed round by
    round, so that a change from one round to the next that affects all contenders cancels out.
    `native`: the kernel uses the processor's own instructions."""
    figures = {}
    for line in samples:
        figures.setdefault(line["case"], {}).setdefault(line["contender"], []).append(line)
    cases = []
    for case in CASES:
        found = figures.get(case.name)
        if not found:
            continue
        rounds = {
            contender: {line["round"]: line["value"] for line in lines}
            for contender, lines in found.items()
        }
        rivals = [rounds[contender] for contender in COMPRESSED if contender in rounds]
        if rivals:
            # Of times and other costs the best is the least.
            best = min if any(ratio.inverse or ratio.most for ratio in case.ratios) else max
            rounds["best"] = {
                n: best(rival[n] for rival in rivals) for n in set.intersection(*map(set, rivals))
            }
        contenders = {}
        for contender, lines in found.items():
            contenders[contender] = {
                "unit": lines[0]["unit"],
                **spread([line["value"] for line in lines]),
            }
            cpu = [line["cpu_per_gib"] for line in lines if "cpu_per_gib" in line]
            if cpu:
                contenders[contender]["cpu_seconds_per_gib"] = spread(cpu)
        ratios = []
        ours = rounds.get("ours", {})
        for ratio in case.ratios:
            other = rounds.get(ratio.other, {})
            both = [
                other[n] / ours[n] if ratio.inverse else ours[n] / other[n]
                for n in sorted(ours)
                if ours[n] and other.get(n)
            ]
            if both:
                floor = ratio.floor if native or not ratio.native else None
                ratios.append(
                    {
                        "to": ratio.other,
                        **spread(both),
                        "floor": floor,
                        "aim": ratio.aim,
                        "most": ratio.most,
                        "inverse": ratio.inverse,
                    }
                )
        cases.append(
            {
                "case": case.name,
                "group": case.group,
                "title": case.title,
                "contenders": contenders,
                "ratios": ratios,
            }
        )
    return cases


def number(value):
    """A figure with three significant digits."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def holds(ratio, bound):
    """Whether the median meets the floor or aim; None if there is none."""
    if ratio[bound] is None:
        return None
    return ratio["median"] <= ratio[bound] if ratio["most"] else ratio["median"] >= ratio[bound]


def table(cases):
    """The lines of the table."""
    yield f"{'':44}{'median':>8}  {'min .. max':>15}  {'floor':>6} {'aim':>6}"
    for case in cases:
        yield case["title"]
        for contender, figure in case["contenders"].items():
            cpu = figure.get("cpu_seconds_per_gib")
            cost = f", CPU {cpu['median']:.2f} s/GiB" if cpu else ""
            if figure["unit"] == "text":
                continue
            extremes = f"{number(figure['min'])} .. {number(figure['max'])}"
            yield (
                f"    {NAMES.get(contender, contender):40}{number(figure['median']):>8}  "
                f"{extremes:>15}  {figure['unit']}{cost}"
            )
        for ratio in case["ratios"]:
            bounds = [
                f"{ratio[bound]:>6.2f}" if ratio[bound] is not None else f"{'-':>6}"
                for bound in ("floor", "aim")
            ]
            verdict = {True: "holds", False: "MISSED", None: ""}[holds(ratio, "floor")]
            verdict += {True: ", aim reached", False: "", None: ""}[holds(ratio, "aim")]
            label = "times as fast as" if ratio["inverse"] else "of"
            label += f" {NAMES.get(ratio['to'], ratio['to'])}"
            extremes = f"{ratio['min']:>6.2f} .. {ratio['max']:<5.2f}"
            yield (
                f"  = {label:40}{ratio['median']:>8.2f}  {extremes}  "
                f"{' '.join(bounds)}  {verdict.strip(', ')}".rstrip()
            )
