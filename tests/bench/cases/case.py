# SPDX-License-Identifier: GPL-2.0
"""A case and its ratios."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """ours / other: more is better, unless a field says otherwise."""

    other: str
    floor: float | None = None
    aim: float | None = None
    # The figures are costs: the ratio must be at most the floor.
    most: bool = False
    # The figures are times: the ratio is other / ours, the factor by which ours is faster.
    inverse: bool = False
    # The floor holds where the kernel uses the processor's own instructions, which User-mode Linux
    # does not.
    native: bool = False


@dataclass(frozen=True)
class Case:
    """One figure of each contender."""

    name: str
    title: str
    group: str
    ratios: tuple[Ratio, ...] = ()
