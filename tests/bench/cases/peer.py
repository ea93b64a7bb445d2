# SPDX-License-Identifier: GPL-2.0
"""A process in user space that serves the same image."""

from .case import Case, Ratio


def peer():
    for readers in (1, 2):
        plural = f"{readers} reader" + "s" * (readers > 1)
        for pattern, title in (
            ("seq-1m", "1 MiB sequential"),
            ("rand-4k", "4 KiB random"),
            ("rand-128k", "128 KiB random"),
        ):
            yield Case(
                f"peer-{pattern}-{readers}",
                f"the same files, {title}, {plural}",
                "peer",
                (Ratio("peer"), Ratio("peer-apart")),
            )
    for pattern, title in (("rand-4k", "4 KiB random"), ("rand-128k", "128 KiB random")):
        yield Case(
            f"peer-{pattern}-16",
            f"the same files, {title}, 16 under way",
            "peer",
            (Ratio("peer"), Ratio("peer-apart")),
        )
    yield Case(
        "peer-latency",
        "the same files, 4 KiB random, one read at a time: a read",
        "peer",
        (Ratio("peer", inverse=True), Ratio("peer-apart", inverse=True)),
    )
    yield Case(
        "peer-mount",
        "the same files, uncached: until the image is mounted",
        "peer",
        (Ratio("peer", inverse=True), Ratio("peer-apart", inverse=True)),
    )
    yield Case(
        "peer-start",
        "the same files, uncached: until all files of the image are read",
        "peer",
        (Ratio("peer", inverse=True), Ratio("peer-apart", inverse=True)),
    )
    yield Case("peer-memory", "memory of the process", "peer")
    yield Case("peer-kill", "the process is killed under load", "peer")


CASES = (*peer(),)
