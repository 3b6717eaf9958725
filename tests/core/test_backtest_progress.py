"""The progress line: one line of a fixed width, whatever is done."""

from __future__ import annotations

import pytest

from milo.backtest.progress import progress_line


def test_half_way() -> None:
    line = progress_line(500_000, 1_000_000, seconds=2.0)

    assert line.rstrip() == (
        "[###############---------------]  50 %  500,000 of 1,000,000 candles  2 s left"
    )


@pytest.mark.parametrize(
    ("done", "total", "seconds"),
    [(0, 0, 0.0), (0, 10, 0.0), (10, 10, 99.5), (11, 10, 1.0), (10**9, 10**10, 86_400.0)],
)
def test_every_line_covers_the_one_before(done: int, total: int, seconds: float) -> None:
    line = progress_line(done, total, seconds=seconds)

    assert len(line) == 80
    assert line.isascii()


def test_the_end_tells_the_time_taken() -> None:
    assert (
        progress_line(10, 10, seconds=1.25, noun="runs")
        .rstrip()
        .endswith("100 %  10 of 10 runs  1.2 s")
    )


def test_nothing_is_promised_at_the_start() -> None:
    assert "left" not in progress_line(1, 1_000, seconds=5.0)
