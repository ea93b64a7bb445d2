# SPDX-License-Identifier: GPL-2.0
"""Samples into medians, ratios and a table. It measures nothing and draws nothing."""

import statistics

from cases import CASES, COMPRESSED, NAMES


def spread(values):
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def summarise(samples, native):
    """For each case: what each contender reached, and each ratio, round by round, so that what changes
    from round to round for everyone cancels out. `native` says that the kernel has the processor's
    own instructions to use."""
    figures = {}
    for line in samples:
        figures.setdefault(line["case"], {}).setdefault(line["who"], []).append(line)
    cases = []
    for case in CASES:
        found = figures.get(case.name)
        if not found:
            continue
        rounds = {who: {line["round"]: line["value"] for line in lines} for who, lines in found.items()}
        rivals = [rounds[who] for who in COMPRESSED if who in rounds]
        if rivals:
            rounds["best"] = {n: max(rival[n] for rival in rivals) for n in set.intersection(*map(set, rivals))}
        contenders = {}
        for who, lines in found.items():
            contenders[who] = {"unit": lines[0]["unit"], **spread([line["value"] for line in lines])}
            cpu = [line["cpu_per_gib"] for line in lines if "cpu_per_gib" in line]
            if cpu:
                contenders[who]["cpu_seconds_per_gib"] = spread(cpu)
        ratios = []
        ours = rounds.get("ours", {})
        for ratio in case.ratios:
            other = rounds.get(ratio.other, {})
            both = [other[n] / ours[n] if ratio.inverse else ours[n] / other[n] for n in sorted(ours)
                    if ours[n] and other.get(n)]
            if both:
                floor = ratio.floor if native or not ratio.native else None
                ratios.append({"to": ratio.other, **spread(both), "floor": floor, "aim": ratio.aim, "most": ratio.most,
                               "inverse": ratio.inverse})
        cases.append({"case": case.name, "group": case.group, "title": case.title,
                      "contenders": contenders, "ratios": ratios})
    return cases


def number(value):
    """A figure with three digits that count."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def holds(ratio, bound):
    """Whether the median is on the right side of a floor or aim, or None if there is none."""
    if ratio[bound] is None:
        return None
    return ratio["median"] <= ratio[bound] if ratio["most"] else ratio["median"] >= ratio[bound]


def table(cases):
    """The lines of the table a person reads."""
    yield f"{'':44}{'median':>8}  {'min .. max':>15}  {'floor':>6} {'aim':>6}"
    for case in cases:
        yield case["title"]
        for who, figure in case["contenders"].items():
            cpu = figure.get("cpu_seconds_per_gib")
            cost = f", CPU {cpu['median']:.2f} s/GiB" if cpu else ""
            if figure["unit"] == "text":
                continue
            yield (f"    {NAMES.get(who, who):40}{number(figure['median']):>8}  "
                   f"{number(figure['min']) + ' .. ' + number(figure['max']):>15}  {figure['unit']}{cost}")
        for ratio in case["ratios"]:
            bounds = [f"{ratio[bound]:>6.2f}" if ratio[bound] is not None else f"{'-':>6}" for bound in ("floor", "aim")]
            verdict = {True: "holds", False: "MISSED", None: ""}[holds(ratio, "floor")]
            verdict += {True: ", aim reached", False: "", None: ""}[holds(ratio, "aim")]
            label = f"{'times as fast as' if ratio['inverse'] else 'of'} {NAMES.get(ratio['to'], ratio['to'])}"
            yield (f"  = {label:40}{ratio['median']:>8.2f}  {ratio['min']:>6.2f} .. {ratio['max']:<5.2f}  "
                   f"{' '.join(bounds)}  {verdict.strip(', ')}".rstrip())
