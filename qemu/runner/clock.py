# SPDX-License-Identifier: GPL-2.0
"""The rate of the host's time stamp counter, which guests have in emulation too.

A guest in emulation cannot measure it: the only clock it could compare with, the PIT, is too
unsteady.
"""

import ctypes
import mmap
import time


def tsc_khz():
    """The rate in kHz: the median of five measurements."""
    # rdtsc; shl rdx, 32; or rax, rdx; ret
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("0f31 48c1e220 4809d0 c3"))
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    rates = []
    for _ in range(5):
        start, before = time.monotonic_ns(), rdtsc()
        time.sleep(0.02)
        end, after = time.monotonic_ns(), rdtsc()
        rates.append((after - before) * 1_000_000 // (end - start))
    return sorted(rates)[2]
