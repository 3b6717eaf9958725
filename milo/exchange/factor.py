"""One random movement of the simulated market, at random access: daily levels, minutes between.

Pure, and the same on every computer: the random words are Philox counters (a fixed algorithm,
unlike numpy's distributions), and the arithmetic is limited to what IEEE 754 defines to the last
bit (+, -, *, /, square root, rounding). No exp, log, sin or power of a maths library, no float
sums whose order is free, no interpolation routine that a compiler may fuse.

Levels are logarithms (0.01 is about 1 %), volatilities are standard deviations of levels.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
Number = TypeVar("Number", float, Floats)

FIRST_DAY = 18_262
"""2020-01-01, in days since 1970-01-01: the markets' first day."""
PIN_DAY = 20_454
"""2026-01-01: every level is 0 there, so that prices are near their profile's."""

MINUTES = 1440
_KNOTS = 48
_KNOT_MINUTES = MINUTES // _KNOTS
_PIN_FADES_DAYS = 400.0
_EXTEND_DAYS = 512
_DAYS_A_YEAR = 365.0

_WORDS_A_COUNTER = 4
_U16_SUM_MEAN = 2.0 * 65_535
_U16_SUM_SD = math.sqrt(4 * (65_536.0**2 - 1) / 12)
_TAIL = 0.1
_TAIL_NORM = math.sqrt(1 + 2 * _TAIL * 2.7 + _TAIL**2 * 153 / 14)
"""Keeps the variance at 1: the sum of four uniforms has the moments m4 = 2.7, m6 = 153 / 14."""

# Volatility by UTC hour: a quiet early morning, Europe, and the peak when New York opens.
_HOURLY_VOL = (
    1.00, 0.98, 0.94, 0.86, 0.78, 0.74, 0.78, 0.88, 0.96, 0.94, 0.90, 0.92,
    1.04, 1.32, 1.50, 1.44, 1.28, 1.14, 1.06, 1.02, 1.02, 0.96, 0.92, 0.94,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Regime:
    """A phase of a market: drift in daily volatilities a day, volatility as a multiple."""

    drift: float
    vol: float
    days: float
    """How long it lasts in the mean."""


RISING = Regime(0.12, 0.90, 24.0)
FALLING = Regime(-0.12, 1.10, 18.0)
RANGING = Regime(0.0, 0.65, 22.0)
STORM = Regime(-0.10, 1.90, 5.0)
_NEXT: dict[Regime, tuple[Regime, ...]] = {
    RISING: (RANGING, FALLING, RANGING, STORM),
    FALLING: (RANGING, RISING, STORM, RISING),
    RANGING: (RISING, FALLING, RISING, FALLING),
    STORM: (RISING, RANGING, FALLING, RISING),
}


@dataclass(frozen=True, slots=True)
class Nodes:
    """Levels and volatilities (a day) at consecutive midnights."""

    level: Floats
    vol: Floats


@dataclass(frozen=True, slots=True)
class MinutePath:
    """Days x 1440: the level at each minute's end, and the volatility within the minute."""

    level: Floats
    vol: Floats


class Factor:
    """A level that wanders and reverts over years, through phases, with clustered volatility."""

    def __init__(self, seed: int, name: str, *, annual_vol: float, reversion_days: float) -> None:
        self._daily_vol = annual_vol / math.sqrt(_DAYS_A_YEAR)
        self._reversion = 1.0 / reversion_days
        self._day_key = _key(seed, f"{name}/days")
        self._minute_key = _key(seed, f"{name}/minutes")
        self._regime = RANGING
        self._regime_vol = 1.0
        self._heat = 0.0
        self._levels = [0.0]
        self._vols = [self._daily_vol]

    def nodes(self, first_day: int, count: int) -> Nodes:
        """Return the midnights that bound `count` days: count + 1 of them."""
        self._extend_to(max(first_day + count, PIN_DAY))
        first = first_day - FIRST_DAY
        level = np.array(self._levels[first : first + count + 1])
        vol = np.array(self._vols[first : first + count + 1])
        away = (np.arange(first_day, first_day + count + 1) - PIN_DAY) / _PIN_FADES_DAYS
        return Nodes(level - self._levels[PIN_DAY - FIRST_DAY] / (1.0 + away * away), vol)

    def minutes(self, first_day: int, count: int, clusters: Floats) -> MinutePath:
        """Return the path of `count` days between their nodes.

        `clusters`, days x 1440, scales the volatility within the days. Each day is a random walk
        bent to end at the next node: the miss is spread by the minutes' share in the variance,
        which leaves the walk's own distribution as it is.
        """
        nodes = self.nodes(first_day, count)
        rising = np.arange(MINUTES) / float(MINUTES)
        vol_0, vol_1 = nodes.vol[:-1, None], nodes.vol[1:, None]
        vol = (vol_0 + (vol_1 - vol_0) * rising) * clusters / math.sqrt(MINUTES)
        words = random_words(self._minute_key, first_day * MINUTES, count * MINUTES)
        walk = np.cumsum(vol * normals(words).reshape(count, MINUTES), axis=1)
        share = np.cumsum(vol * vol, axis=1)
        share /= share[:, -1:]
        start, end = nodes.level[:-1, None], nodes.level[1:, None]
        level = start + walk + (end - start - walk[:, -1:]) * share
        level[:, -1] = nodes.level[1:]  # to the last bit: the next day starts from it
        return MinutePath(level, vol)

    def _extend_to(self, day: int) -> None:
        while FIRST_DAY + len(self._levels) - 1 < day:
            first = FIRST_DAY + len(self._levels) - 1
            words = random_words(
                self._day_key, first * _WORDS_A_COUNTER, _EXTEND_DAYS * _WORDS_A_COUNTER
            ).reshape(_EXTEND_DAYS, _WORDS_A_COUNTER)
            columns = (
                normals(words[:, 0].copy()),
                normals(words[:, 1].copy()),
                uniforms(words[:, 2]),
                words[:, 3] % np.uint64(4),
            )
            for move, warming, change, choice in zip(*(c.tolist() for c in columns), strict=True):
                self._add_day(move, warming, change, choice)

    def _add_day(self, move: float, warming: float, change: float, choice: int) -> None:
        if change < 1.0 / self._regime.days:
            self._regime = _NEXT[self._regime][choice]
        self._regime_vol += 0.3 * (self._regime.vol - self._regime_vol)
        self._heat = 0.93 * self._heat + 0.11 * warming
        vol_0, level = self._vols[-1], self._levels[-1]
        vol_1 = self._daily_vol * self._regime_vol * exp_of(self._heat)
        vol = math.sqrt((vol_0 * vol_0 + vol_0 * vol_1 + vol_1 * vol_1) / 3.0)
        drift = self._regime.drift * self._daily_vol - self._reversion * level
        self._vols.append(vol_1)
        self._levels.append(level + drift + vol * move)


def clusters(seed: int, first_day: int, count: int) -> Floats:
    """Return how lively each minute is, days x 1440: the hour's habit times random half hours."""
    key = _key(seed, "clusters")
    words = random_words(key, first_day * _KNOTS, (count + 1) * _KNOTS)
    lucky = uniforms(words[: count * _KNOTS + 1])
    knots = (0.6 + 1.2 * lucky * lucky) / 1.0622  # mean square 1
    rising = np.arange(_KNOT_MINUTES) / float(_KNOT_MINUTES)
    left, right = knots[:-1, None], knots[1:, None]
    lively = left + (right - left) * rising
    return lively.reshape(count, MINUTES) * daily_habit()


@cache
def daily_habit() -> Floats:
    """Return the usual volatility of each minute of a day, its mean square 1."""
    hourly = np.array((*_HOURLY_VOL, _HOURLY_VOL[0]))
    rising = np.arange(60) / 60.0
    left, right = hourly[:-1, None], hourly[1:, None]
    habit: Floats = (left + (right - left) * rising).reshape(MINUTES)
    mean_square = float(np.cumsum(habit * habit)[-1]) / MINUTES
    normed: Floats = habit / math.sqrt(mean_square)
    return normed


def exp_of(x: Number) -> Number:
    """Return e**x for |x| < 6, to nine digits, from additions and products alone."""
    t = x / 256.0
    y = 1.0 + t * (1.0 + t * (0.5 + t * (1.0 / 6.0 + t * (1.0 / 24.0))))
    for _ in range(8):
        y = y * y
    return y


def random_words(key: Words, first: int, count: int) -> Words:
    """Return words [first, first + count) of the stream; `first` a multiple of 4."""
    generator = np.random.Philox(counter=first // _WORDS_A_COUNTER, key=key)
    return generator.random_raw(count)


def stream_key(seed: int, name: str) -> Words:
    """Return the key of a stream of random words; equal names give equal streams."""
    return _key(seed, name)


def sixteenths(words: Words) -> NDArray[np.uint16]:
    """Return each word's four 16-bit parts: words x 4, the same on every byte order."""
    return words.astype("<u8", copy=False).view("<u2").reshape(-1, 4)


def uniforms(words: Words) -> Floats:
    """Return numbers in [0, 1), one a word."""
    return (words >> np.uint64(32)).astype(np.float64) / 2.0**32


def normals(words: Words) -> Floats:
    """Return numbers of mean 0 and variance 1, one a word; kurtosis about 5, none beyond 5.5."""
    parts = sixteenths(words).astype(np.int64)
    total = parts[:, 0] + parts[:, 1] + parts[:, 2] + parts[:, 3]
    z: Floats = (total.astype(np.float64) - _U16_SUM_MEAN) / _U16_SUM_SD
    return z * (1.0 + _TAIL * z * z) / _TAIL_NORM


def _key(seed: int, name: str) -> Words:
    digest = hashlib.sha256(f"milo market|{seed}|{name}".encode()).digest()
    return np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)
