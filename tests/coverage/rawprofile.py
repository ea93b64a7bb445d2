# SPDX-License-Identifier: GPL-2.0
"""Writes a raw profile of LLVM (version 10) from the counters of a module.

The format is in LLVM's `InstrProfData.inc`: a header of 16 words, then the records of the
functions, the counters, the names. The profiler's runtime, which a kernel does not have, would
write the same.
"""

import re
import struct

MAGIC = int.from_bytes(b"\xfflprofr\x81", "big")
VERSION = 10
RECORD = 64
# `IPVK_Last`, the last kind of a profile of values, of which there is none.
LAST_KIND = 2

DATA, COUNTERS, NAMES = "__llvm_prf_data", "__llvm_prf_cnts", "__llvm_prf_names"


def sections(file, tool):
    """Address, offset and length of each section of an ELF file, by its name."""
    text = tool("llvm-readelf-19", "--sections", "--wide", file)
    rows = re.findall(r"\] +(\S+) +\S+ +([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+) ", text)
    return {name: tuple(int(number, 16) for number in numbers) for name, *numbers in rows}


def write_profile(path, linked, dumps, tool):
    """`dumps` are sets of counters, of which a line that any has run counts as run. `linked` is the
    module with its relocations applied. `tool` runs a program."""
    found = sections(linked, tool)
    image = linked.read_bytes()
    data, names = (image[at : at + size] for _, at, size in (found[DATA], found[NAMES]))
    words = [struct.unpack(f"<{len(dump) // 8}Q", dump) for dump in dumps]
    counters = [max(values) for values in zip(*words)]
    header = (
        MAGIC, VERSION, 0,
        len(data) // RECORD, 0, len(counters), 0, 0, 0, len(names),
        (found[COUNTERS][0] - found[DATA][0]) & (1 << 64) - 1, 0, found[NAMES][0],
        0, 0, LAST_KIND,
    )
    padding = -len(names) % 8
    path.write_bytes(
        struct.pack("<16Q", *header) + data + struct.pack(f"<{len(counters)}Q", *counters)
        + names + b"\0" * padding
    )
