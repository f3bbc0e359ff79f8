"""What this machine could do at best, and how busy it was: to be read beside every measurement."""

import os
import resource
import time
from typing import Any

import numpy as np

COPY_BYTES = 1 << 28


def cpu_seconds() -> float:
    """User and system CPU seconds of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def machine() -> dict[str, Any]:
    """Returns what a measurement is to be read with: cores of this process, and the load (runnable threads) of the last minute."""
    return {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1)}


def copy_bandwidth(rounds: int = 5) -> float:
    """Returns the bytes a CPU second that `np.copyto` copies between arrays far larger than any cache; the best of `rounds`."""
    source = np.zeros(COPY_BYTES // 8)
    target = np.ones_like(source)  # touched, so that no page is made while the clock runs
    source += 1.0
    best = 0.0
    for _ in range(rounds):
        start = time.thread_time()
        np.copyto(target, source)
        best = max(best, COPY_BYTES / (time.thread_time() - start))
    return best
