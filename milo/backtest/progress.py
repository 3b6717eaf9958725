"""One line that says how far a backtest is (layer 1). Only a terminal should be shown it."""

from __future__ import annotations

_BAR = 30


def progress_line(done: int, total: int, *, seconds: float, noun: str = "candles") -> str:
    """Return a bar, the share done and, once it can be told, the time left; at most 80 columns.

    `seconds` is how long the work has taken so far. A total of 0 counts as done. Write it after a
    carriage return; each line covers the one before.
    """
    share = min(1.0, max(0.0, done / total)) if total > 0 else 1.0
    full = int(share * _BAR)
    bar = "#" * full + "-" * (_BAR - full)
    line = f"[{bar}] {int(share * 100):3d} %  {done:,} of {total:,} {noun}{_left(share, seconds)}"
    return f"{line:<80}"[:80]


def _left(share: float, seconds: float) -> str:
    if share >= 1.0:
        return f"  {seconds:.1f} s"
    # Too early to tell: the first candles cost the start as well.
    if share < 0.02 or seconds < 0.2:
        return ""
    return f"  {seconds / share - seconds:.0f} s left"
