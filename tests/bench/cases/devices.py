# SPDX-License-Identifier: GPL-2.0
"""Kinds of lower devices, and how they are read.

The matrix is here alone: the host passes it to the guest in the plan.
"""

from dataclasses import asdict, dataclass, field

from .case import Case, Ratio


@dataclass(frozen=True)
class Device:
    """A kind of device, which holds a ZFile or the uncompressed image."""

    name: str
    title: str
    # How the guest makes it: "ramdisk", "loop" or "null_blk".
    kind: str
    # What losetup or null_blk are told besides.
    settings: dict = field(default_factory=dict)
    # A limit of its bandwidth bounds what is read: it takes long, and is read in fewer ways.
    slow: bool = False

    @property
    def reads(self):
        return [reads for reads in READS if not self.slow or reads in SLOW]


@dataclass(frozen=True)
class Reads:
    """A way to read a device."""

    pattern: str
    depth: int = 1
    readers: int = 1

    @property
    def name(self):
        return f"{self.pattern}-{self.depth}x{self.readers}"

    @property
    def title(self):
        names = {
            "seq-1m": "1 MiB in order",
            "rand-4k": "4 KiB random",
            "rand-128k": "128 KiB random",
        }
        readers = f", {self.readers} readers" if self.readers > 1 else ""
        return f"{names[self.pattern]}, {self.depth} at once{readers}"


def _disk(irqmode, nsec, mbps=0):
    return {"irqmode": irqmode, "completion_nsec": nsec, "mbps": mbps}


# The guest makes them in this order. The null_blk devices are one device, which is set up anew: a
# limit of its bandwidth cannot be taken away, so those without come first. null_blk counts in MiB.
DEVICES = (
    Device("ramdisk", "ramdisk", "ramdisk"),
    Device("loop", "loop, buffered", "loop"),
    Device("loop-direct", "loop, direct", "loop", {"direct": True}),
    Device("soft", "disk, soft interrupt", "null_blk", _disk(1, 0)),
    Device("hard", "disk, hard interrupt", "null_blk", _disk(2, 1000)),
    Device("80us", "disk, 80 µs", "null_blk", _disk(2, 80_000)),
    Device("80us-1000", "disk, 80 µs, 1 GB/s", "null_blk", _disk(2, 80_000, 954), True),
    Device("80us-200", "disk, 80 µs, 200 MB/s", "null_blk", _disk(2, 80_000, 191), True),
)

READS = (
    Reads("seq-1m"),
    Reads("seq-1m", 4),
    Reads("seq-1m", 1, 2),
    Reads("rand-4k"),
    Reads("rand-4k", 4),
    Reads("rand-4k", 16),
    Reads("rand-4k", 64),
    Reads("rand-4k", 16, 2),
    Reads("rand-128k"),
    Reads("rand-128k", 16),
    Reads("rand-128k", 1, 2),
)

SLOW = (
    Reads("seq-1m"),
    Reads("seq-1m", 1, 2),
    Reads("rand-4k"),
    Reads("rand-4k", 4),
    Reads("rand-4k", 16),
    Reads("rand-4k", 64),
    Reads("rand-128k"),
    Reads("rand-128k", 16),
)

# What dm-verity is read by as well: the rest would tell nothing new.
VERITY = (Reads("seq-1m"), Reads("rand-4k"), Reads("rand-4k", 16), Reads("rand-128k"))

# What the CPU time of 1 MiB in order may be, in that of dm-linear.
CPU = {"ramdisk": 1.94, "loop": 1.42}


def ratios(device, reads):
    """The ratios of one case."""
    if reads.pattern == "rand-4k":
        yield Ratio("linear", 0.92, 1.0)
    elif device.name == "80us-200":
        # As much as the disk can deliver of compressed blocks.
        yield Ratio("linear-by-size", 0.97)
        yield Ratio("linear")
    elif reads.pattern == "rand-128k":
        yield Ratio("linear", 0.85)
    elif device.kind == "loop" and reads.readers == 1:
        yield Ratio("linear", 0.75, 0.85)
    else:
        yield Ratio("linear")
    if reads in VERITY:
        yield Ratio("verity")
    yield Ratio("baseline")


def devices():
    for device in DEVICES:
        for reads in device.reads:
            yield Case(
                f"device-{device.name}-{reads.name}",
                f"{device.title}: {reads.title}",
                "devices",
                tuple(ratios(device, reads)),
            )
        if device.name in CPU:
            yield Case(
                f"device-{device.name}-cpu",
                f"{device.title}: CPU time of 1 MiB in order",
                "devices",
                (Ratio("linear", CPU[device.name], most=True),),
            )


def plan(names):
    """What the guest is told of the matrix, with these devices alone."""
    return {
        "kinds": [
            {
                **asdict(device),
                "reads": [{**asdict(reads), "name": reads.name} for reads in device.reads],
            }
            for device in DEVICES
            if device.name in names
        ],
        "verity": [reads.name for reads in VERITY],
        "cpu": list(CPU),
    }


CASES = tuple(devices())
