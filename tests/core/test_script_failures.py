"""Failures of a script on many candles: told, counted, halted by the candles' clock."""

from __future__ import annotations

import numpy as np

from milo.errors import ScriptError
from milo.script.failures import Failures
from milo.script.halting import BREACH_WINDOW_S

HOUR_MS = 3_600_000
WINDOW_HOURS = int(BREACH_WINDOW_S) // 3600


def failure(*, breach: bool = False) -> ScriptError:
    return ScriptError("text", script="s", message="too long", line=3, breach=breach)


def halted_at(hours: list[int], *, after: int = 0) -> int | None:
    """Return where three breaches at these hours halt, candles of `after` hours left out."""
    opens = np.arange(200, dtype=np.int64) * HOUR_MS
    failures = Failures(np.concatenate((opens[:1], opens[1 + after :])))
    for index in hours:
        failures.failed(index, failure(breach=True))
        failures.succeeded()
    return failures.halted_at


def test_three_breaches_within_24_hours_of_candles_halt() -> None:
    assert halted_at([1, 2, 1 + WINDOW_HOURS]) == 1 + WINDOW_HOURS
    assert halted_at([1, 2, 2 + WINDOW_HOURS]) is None


def test_hours_without_candles_count_in_the_window() -> None:
    assert halted_at([0, 1, 2]) == 2
    assert halted_at([0, 1, 2], after=WINDOW_HOURS) is None


def test_five_failures_in_a_row_halt_and_a_success_ends_the_row() -> None:
    failures = Failures(np.arange(20, dtype=np.int64) * HOUR_MS)

    for index in range(4):
        failures.failed(index, None)
    failures.succeeded()
    for index in range(5, 9):
        failures.failed(index, None)

    assert failures.halted_at is None
    failures.failed(9, None)
    assert failures.halted_at == 9
    assert failures.count == 9


def test_only_the_first_twenty_are_told() -> None:
    failures = Failures(np.zeros(1, np.int64))

    for _ in range(25):
        assert failures.wants_words == (failures.count < 20)
        failures.failed(0, failure())
        failures.succeeded()

    assert len(failures.told) == 20
    assert failures.count == 25
    assert (failures.told[0].line, failures.told[0].message) == (3, "too long")
