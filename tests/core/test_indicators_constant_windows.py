"""Means of windows in which nothing moves are that value itself, wherever such windows lie."""

from __future__ import annotations

import numpy as np
import pytest

from milo.ta.windows import pin_constant_windows


@pytest.mark.parametrize("seed", range(40))
def test_exactly_the_constant_windows_are_pinned(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for trial in range(25):
        length = int(rng.integers(3, 900 if trial == 0 else 120))
        period = int(rng.integers(2, min(length, 40) + 1))
        series = rng.integers(0, int(rng.integers(1, 4)) + 1, length).astype(float)
        for _ in range(int(rng.integers(0, 4))):
            start = int(rng.integers(0, length))
            series[start : start + int(rng.integers(1, 60))] = series[start]
        if trial % 5 == 0:
            series += np.where(rng.random(length) < 0.5, rng.random(length), 0.0)
        found = np.full(length, -1.0)

        pin_constant_windows(series, period, found)

        expected = np.full(length, -1.0)
        for index in range(period - 1, length):
            window = series[index - period + 1 : index + 1]
            if (window == window[0]).all():
                expected[index] = window[0]
        assert found.tolist() == expected.tolist()
