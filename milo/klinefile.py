"""Candle files: lines of comma-separated text to checked candles (layer 1, no I/O).

The form: `open_time,open,high,low,close,volume`, in that order, with or without a header line;
further columns are ignored. Times are ms or us UTC. Mark-price files have no volume column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from milo.errors import ConfigError
from milo.intervals import DAY_MS, INTERVAL_MS, open_of

KlineRow = tuple[int, float, float, float, float, float]
"""(open_ms, open, high, low, close, volume) of one closed candle."""

FORM = "open_time,open,high,low,close,volume"

_KEPT_BAD_ROWS = 1000
_ROWS_AT_ONCE = 20_000

# Ten digits are seconds, thirteen ms, sixteen us: what lies between is years 1973 to 5138.
_MS_FROM, _MS_UNTIL = 1e11, 1e14
_US_FROM, _US_UNTIL = 1e14, 9e15

# Fewer rows than this say too little to contradict an interval that the user has given.
_ROWS_THAT_PROVE_AN_INTERVAL = 10

_TIME_NAMES = frozenset({"opentime", "opentimems", "opentimeus", "time", "timems", "timestamp",
                         "timestampms", "date", "datetime", "ts"})  # fmt: skip
_PRICE_NAMES = ("open", "high", "low", "close")
_NAMES = ("open time", *_PRICE_NAMES, "volume")
_ROW_ITEMS = len(_NAMES)
_VOLUME_NAMES = frozenset({"volume", "vol", "basevolume"})


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out, by its line number (from 1) and the reason."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KlineRows:
    """The candles of a file, oldest first, each open time once, and what was found on the way."""

    name: str
    interval: str
    open_ms: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    """All 0 where the file has no volume column."""
    has_volume: bool
    duplicates: int
    """Rows equal to an earlier one; left out."""
    disordered: int
    """Rows that came after a newer one; sorted in."""
    bad: tuple[BadRow, ...]
    """The first 1,000 bad rows by line; none of them is among the candles."""
    bad_count: int

    def __len__(self) -> int:
        return len(self.open_ms)

    def rows(self) -> Iterator[KlineRow]:
        """Yield the candles one by one as plain Python numbers, for the store."""
        for start in range(0, len(self), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            columns = (self.open_ms, self.open, self.high, self.low, self.close, self.volume)
            yield from zip(*(column[part].tolist() for column in columns), strict=True)

    def refuse_bad_rows(self) -> None:
        """Raise ConfigError with one line that names the first bad row and how many there are."""
        if self.bad_count:
            raise ConfigError(f"{self.name}{_first_bad(self.bad, self.bad_count)}")


def parse_lines(lines: Iterable[str], *, name: str, interval: str | None = None) -> KlineRows:
    """Read the lines of a candle file; rows that cannot be candles are reported and left out.

    `interval` is what the user says the file holds; it is deduced where None, and checked against
    the open times in any case. Equal duplicates and disorder are mended.
    Raises ConfigError, with `name` in its text, where the file as a whole is not usable: no
    candles, other columns, no or another interval.
    """
    if interval is not None and interval not in INTERVAL_MS:
        raise ConfigError(f"unknown interval {interval!r}; use one of {' '.join(INTERVAL_MS)}")
    table = _Table(name=name)
    table.read(lines)
    if not any(len(batch.open_ms) for batch in table.batches):
        raise ConfigError(f"{name} holds no candles{_first_bad(table.bad, table.bad_count)}")
    return _assemble(table, interval)


def _first_bad(bad: Sequence[BadRow], count: int) -> str:
    """Say where the first bad row is and how many there are; nothing where there is none."""
    if not count:
        return ""
    first = min(bad, key=lambda row: row.line)
    more = f" ({count:,} bad rows in all)" if count > 1 else ""
    return f": line {first.line}: {first.reason}{more}"


@dataclass(slots=True)
class _Table:
    """What the lines held so far, in the file's own order, and the bad rows."""

    name: str
    separators: int = 0
    has_volume: bool = False
    batches: list[_Columns] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    bad_count: int = 0

    def read(self, lines: Iterable[str]) -> None:
        numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        first = next(numbered, None)
        if first is None:
            return
        rows: Iterator[tuple[int, str]]
        rows = numbered if self._take_header(*first) else chain([first], numbered)
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            self._take_batch(batch)

    def columns(self) -> _Columns:
        """Return all good rows, in the file's own order."""
        if not self.batches:
            nothing = np.empty(0, dtype=np.int64)
            return _Columns(nothing, nothing, np.empty((_ROW_ITEMS - 1, 0)))
        return _Columns(
            np.concatenate([part.open_ms for part in self.batches]),
            np.concatenate([part.lines for part in self.batches]),
            np.concatenate([part.values for part in self.batches], axis=1),
        )

    def note_bad(self, number: int, reason: str) -> None:
        self.bad_count += 1
        if len(self.bad) < _KEPT_BAD_ROWS:
            self.bad.append(BadRow(number, reason))

    def _take_header(self, number: int, line: str) -> bool:
        """Learn the columns from the first line; return False where it is a row already."""
        fields = [part.strip().strip('"') for part in line.split(",")]
        self.separators = len(fields) - 1
        if self.separators < 4:
            raise ConfigError(
                f"{self.name} is not a candle file: line {number} is {_quoted(line.strip())}; "
                f"needed are the columns {FORM}"
            )
        self.has_volume = self.separators >= 5
        if _number(fields[0]) is not None:
            return False
        names = ["".join(filter(str.isalnum, part.lower())) for part in fields]
        if names[0] not in _TIME_NAMES or tuple(names[1:5]) != _PRICE_NAMES:
            raise ConfigError(
                f"{self.name}: line {number}: the columns are {_quoted(','.join(fields[:6]))}; "
                f"needed are {FORM}, in this order"
            )
        self.has_volume = self.has_volume and names[5] in _VOLUME_NAMES
        return True

    def _take_batch(self, batch: list[tuple[int, str]]) -> None:
        lines = [line for _, line in batch]
        cells = self._cells_at_once(lines)
        if cells is None:
            cells = np.array([self._cells_of(line) for line in lines])
        if not self.has_volume:
            cells = np.column_stack([cells, np.zeros(len(cells))])
        open_ms = cells[:, 0]
        in_us = (open_ms >= _US_FROM) & (open_ms < _US_UNTIL)
        open_ms[in_us] /= 1000
        good = _are_candles(cells)
        for index in np.flatnonzero(~good):
            number, line = batch[index]
            self.note_bad(number, _reason(line, self.separators, self.has_volume))
        numbers = np.array([number for number, _ in batch], dtype=np.int64)
        cells = cells[good]
        self.batches.append(_Columns(cells[:, 0].astype(np.int64), numbers[good], cells[:, 1:].T))

    def _cells_at_once(self, lines: list[str]) -> NDArray[np.float64] | None:
        """Read many rows quickly; None where any line needs a closer look."""
        if not all(line.isascii() and line.count(",") == self.separators for line in lines):
            return None
        wanted = range(_ROW_ITEMS if self.has_volume else _ROW_ITEMS - 1)
        try:
            return np.loadtxt(lines, delimiter=",", usecols=wanted, comments=None, ndmin=2)
        except ValueError:
            return None

    def _cells_of(self, line: str) -> list[float]:
        """Read one row; NaN for what is no number, and in every cell of a row of other length."""
        fields = line.split(",")
        wanted = _ROW_ITEMS if self.has_volume else _ROW_ITEMS - 1
        if len(fields) != self.separators + 1:
            return [math.nan] * wanted
        numbers = (_number(text) for text in fields[:wanted])
        return [math.nan if number is None else number for number in numbers]


def _are_candles(cells: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell for each row (open_ms, open, high, low, close, volume) whether it can be a candle."""
    open_ms, price, high, low, close, volume = cells.T
    good: NDArray[np.bool_] = np.ones(len(cells), dtype=np.bool_)
    good &= np.isfinite(cells).all(axis=1)
    good &= (open_ms >= _MS_FROM) & (open_ms < _MS_UNTIL) & (np.floor(open_ms) == open_ms)
    good &= (low > 0) & (low <= price) & (price <= high)
    good &= (low <= close) & (close <= high) & (volume >= 0)
    return good


class _Columns(NamedTuple):
    """Rows as columns; `values` has the shape (5, rows): open, high, low, close, volume."""

    open_ms: NDArray[np.int64]
    lines: NDArray[np.int64]
    values: NDArray[np.float64]

    def at(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> _Columns:
        return _Columns(self.open_ms[index], self.lines[index], self.values[:, index])


def _assemble(table: _Table, interval: str | None) -> KlineRows:
    """Sort the rows, leave out repeated ones, and check the open times against the interval."""
    columns = table.columns()
    disordered = 0
    if len(columns.open_ms):
        newest = np.maximum.accumulate(columns.open_ms)
        disordered = int(np.count_nonzero(columns.open_ms < newest))
    if disordered:
        columns = columns.at(np.argsort(columns.open_ms, kind="stable"))
    columns, duplicates = _without_repeats(table, columns)
    name, columns = _on_boundaries(table, columns, interval)
    # Contiguous and read-only, so that Candles can take the columns as they are.
    values = np.ascontiguousarray(columns.values)
    columns.open_ms.flags.writeable = values.flags.writeable = False
    return KlineRows(
        name=table.name,
        interval=name,
        open_ms=columns.open_ms,
        open=values[0],
        high=values[1],
        low=values[2],
        close=values[3],
        volume=values[4],
        has_volume=table.has_volume,
        duplicates=duplicates,
        disordered=disordered,
        bad=tuple(sorted(table.bad, key=lambda row: row.line)),
        bad_count=table.bad_count,
    )


def _without_repeats(table: _Table, columns: _Columns) -> tuple[_Columns, int]:
    """Keep the first row of each open time; report later ones that differ from it as bad."""
    starts = np.ones(len(columns.open_ms), dtype=np.bool_)
    starts[1:] = columns.open_ms[1:] != columns.open_ms[:-1]
    if starts.all():
        return columns, 0
    first_of = np.flatnonzero(starts)[np.cumsum(starts) - 1]
    differs = (columns.values != columns.values[:, first_of]).any(axis=0)
    for row in np.flatnonzero(differs):
        earlier = columns.lines[first_of[row]]
        table.note_bad(
            int(columns.lines[row]), f"differs from line {earlier}, which has the same open time"
        )
    return columns.at(starts), int(np.count_nonzero(~starts & ~differs))


def _on_boundaries(table: _Table, columns: _Columns, interval: str | None) -> tuple[str, _Columns]:
    """Settle the interval and keep the rows that open on its boundaries; report the others."""
    found = _interval_of(columns.open_ms)
    name = interval or found
    if name is None:
        raise ConfigError(
            f"{table.name}: the open times do not tell the candles' interval; name it"
        )
    if _is_contradicted(columns.open_ms, found, name):
        raise ConfigError(
            f"{table.name} holds {found or 'other'} candles, not {name}: change the interval"
        )
    fits = _opens_candle(columns.open_ms, name)
    for row in np.flatnonzero(~fits):
        table.note_bad(
            int(columns.lines[row]),
            f"open time {columns.open_ms[row]} is not on a boundary of {name}",
        )
    return name, columns if fits.all() else columns.at(fits)


def _is_contradicted(open_ms: NDArray[np.int64], found: str | None, name: str) -> bool:
    """Tell whether the open times speak against the interval `name`, bad rows and gaps allowed."""
    if found == name:
        return False
    count = len(open_ms)
    fitting = np.count_nonzero(_opens_candle(open_ms, name))
    if count < _ROWS_THAT_PROVE_AN_INTERVAL:
        return bool(fitting * 2 < count)
    if fitting * 10 < count * 9:
        return True
    # Candles of a longer interval fit, too; they all open on that one's boundaries. Shorter
    # candles with many gaps do not.
    return found is not None and bool(
        (count - np.count_nonzero(_opens_candle(open_ms, found))) * 100 <= count
    )


def _interval_of(open_ms: NDArray[np.int64]) -> str | None:
    """Return the interval that the most common step between sorted open times is, if any."""
    if len(open_ms) < 2:
        return None
    steps, counts = np.unique(np.diff(open_ms), return_counts=True)
    step = int(steps[np.argmax(counts)])
    if 28 * DAY_MS <= step <= 31 * DAY_MS:
        return "1M"
    return next((name for name, length in INTERVAL_MS.items() if length == step), None)


def _opens_candle(open_ms: NDArray[np.int64], interval: str) -> NDArray[np.bool_]:
    """Tell for each time whether a candle of the interval opens at it."""
    if interval == "1M":
        months = open_ms.astype("datetime64[ms]").astype("datetime64[M]")
        return np.equal(months.astype("datetime64[ms]").astype(np.int64), open_ms)
    return np.equal((open_ms - open_of(0, interval)) % INTERVAL_MS[interval], 0)


def _reason(line: str, separators: int, has_volume: bool) -> str:
    """Say what is wrong with a line that cannot be a candle."""
    fields = [part.strip() for part in line.split(",")]
    if len(fields) != separators + 1:
        return f"has {len(fields)} columns, the first line has {separators + 1}"
    numbers: list[float] = []
    for name, text in zip(_NAMES[: 6 if has_volume else 5], fields, strict=False):
        number = _number(text)
        if number is None or not math.isfinite(number):
            return f"{name} {_quoted(text)} is not a number"
        numbers.append(number)
    open_ms, price, high, low, _ = numbers[:5]
    if not (_MS_FROM <= open_ms < _US_UNTIL):
        return f"open time {_quoted(fields[0])} is neither in ms nor in us"
    if not (open_ms / 1000 if open_ms >= _US_FROM else open_ms).is_integer():
        return f"open time {_quoted(fields[0])} is not a whole ms"
    if low <= 0:
        return f"low {fields[3]} is not above 0"
    if has_volume and numbers[5] < 0:
        return f"volume {fields[5]} is below 0"
    if low > high:
        return f"high {fields[2]} is below low {fields[3]}"
    outside = "close" if low <= price <= high else "open"
    shown = fields[_NAMES.index(outside)]
    return f"{outside} {shown} is not between low {fields[3]} and high {fields[2]}"


def _number(text: str) -> float | None:
    """Read a plain ASCII number; None for all else, 1_000 and full-width digits included."""
    if "_" in text or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _quoted(text: str) -> str:
    """Quote text of unknown origin for a message: printable, at most 60 characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
