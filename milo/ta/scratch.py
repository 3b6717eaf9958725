"""A copy of a series for the time of one call, in memory that is used again.

Over a million candles, getting fresh memory from the kernel takes longer than copying into it, and
about as long as TA-Lib's work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from milo.ta.arguments import Floats

# Memory that is kept for the next call: 16 MiB at the most. A list's pop and append are atomic, so
# that threads never share it.
_MOST_KEPT = 2 * 1024 * 1024
_spare: list[Floats] = []


@contextmanager
def scratch_copy(series: Floats) -> Iterator[Floats]:
    """Lend a copy that may be written to; nothing may keep it."""
    try:
        memory = _spare.pop()
    except IndexError:
        memory = np.empty(len(series))
    if len(memory) < len(series):
        memory = np.empty(len(series))
    copy = memory[: len(series)]
    np.copyto(copy, series)
    try:
        yield copy
    finally:
        if not _spare and len(memory) <= _MOST_KEPT:
            _spare.append(memory)
