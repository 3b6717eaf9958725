"""Read recorded candles and funding rates: CSV, plain or gzip, exact to 1e-8.

Candles: open time in ms UTC, open, high, low, close[, volume[, close time, quote volume, trades,
taker base, taker quote]], oldest first, with a header (any order, other columns ignored) or without
(that order, the exchange's own). What a file lacks is 0. Prices and rates must be exact in 1e-8;
volumes, which some tools write with float noise, are rounded to it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from milo.clock import iso_utc
from milo.errors import ConfigError
from milo.exchange.feed import E8, Column, Columns, column_of, price_tick_e8
from milo.exchange.funding import FundingSchedule
from milo.exchange.recorded_file import read_recorded
from milo.intervals import INTERVAL_MS, open_of

_CHUNK_ROWS = 5_000
_PLACES = 8
_MAX_PRICE_E8 = 9 * 10**18
_MOST_DIGITS = 18
_SURE_FLOAT = 1e7
_INT64_MAX = 2**63 - 1
_EARLIEST_MS = 1_230_768_000_000  # 2009: before that there was nothing to trade
_LATEST_MS = 4_102_444_800_000  # 2100

_NAMES: dict[str, tuple[str, ...]] = {
    "open_ms": ("open_time_ms", "open_time", "open_ms", "timestamp", "time"),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close",),
    "volume": ("volume",),
    "quote_volume": ("quote_volume", "quote_asset_volume"),
    "trades": ("trades", "count", "number_of_trades"),
    "taker_volume": ("taker_buy_base", "taker_buy_volume", "taker_buy_base_asset_volume"),
    "taker_quote_volume": (
        "taker_buy_quote", "taker_buy_quote_volume", "taker_buy_quote_asset_volume",
    ),
}  # fmt: skip
_ORDER = (
    "open_ms", "open", "high", "low", "close", "volume", "", "quote_volume", "trades",
    "taker_volume", "taker_quote_volume",
)  # fmt: skip
_NEEDED = ("open_ms", "open", "high", "low", "close")
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class CandleFile:
    """A file of recorded candles, read and checked."""

    columns: Columns
    interval: str
    price_tick_e8: int
    """The finest decimal place that its prices use, as a power of ten; at most 1.0."""
    content: bytes
    """The file, unpacked."""


def read_candles(path: Path) -> CandleFile:
    """Return the candles of a CSV file; their interval is the most common spacing.

    Raises ConfigError, naming file and line, for anything that is not a candle.
    """
    content = read_recorded(path)
    chunks: list[dict[str, Column]] = []
    lines: list[NDArray[np.int64]] = []
    layout: dict[str, int] = {}
    last_ms = 0
    for numbers, rows in _chunks(path, content):
        if not layout:
            layout, has_header = _layout_of(path, rows[0])
            numbers, rows = numbers[has_header:], rows[has_header:]
            if not rows:
                continue
        line_of = np.array(numbers, dtype=np.int64)
        chunk = _parsed(path, line_of, rows, layout)
        _check(path, line_of, chunk, last_ms)
        last_ms = int(chunk["open_ms"][-1])
        chunks.append(chunk)
        lines.append(line_of)
    if not chunks:
        raise ConfigError(f"{path}: holds no candles")
    columns = Columns(**{name: _joined(chunks, name) for name in _NAMES})  # type: ignore[arg-type]
    interval = _interval_of(path, columns.open_ms, np.concatenate(lines))
    prices = (columns.open, columns.high, columns.low, columns.close)
    return CandleFile(columns, interval, price_tick_e8(prices), content)


_MAX_FUNDING_E8 = E8 // 10
"""No exchange has settled more than a few percent at once; a price in its place is far above."""


def read_funding(path: Path) -> tuple[FundingSchedule, bytes]:
    """Return the settlements of a CSV `funding_time_ms,funding_rate`, and the unpacked file.

    Raises ConfigError, naming file and line, for anything that is not a settlement.
    """
    content = read_recorded(path)
    times: list[int] = []
    rates: list[int] = []
    for numbers, rows in _chunks(path, content):
        for number, row in zip(numbers, rows, strict=True):
            if not times and _is_header(row):
                continue
            if len(row) < 2:
                raise ConfigError(f"{path}, line {number}: no funding time and rate")
            try:
                time_ms, rate = _time(row[0]), _signed_e8(row[1])
            except ValueError as error:
                raise ConfigError(f"{path}, line {number}: {error}") from error
            if abs(rate) > _MAX_FUNDING_E8:
                raise ConfigError(f"{path}, line {number}: {row[1]} is no funding rate (0.0001)")
            if times and time_ms <= times[-1]:
                raise ConfigError(f"{path}, line {number}: the times do not increase")
            times.append(time_ms)
            rates.append(rate)
    if not times:
        raise ConfigError(f"{path}: holds no funding rates")
    return FundingSchedule(tuple(times), tuple(rates)), content


def _chunks(path: Path, content: bytes) -> Iterator[tuple[Sequence[int], list[list[str]]]]:
    """Give the rows that are not blank, with their line numbers, some thousands at a time."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline=""))
    while True:
        before = reader.line_num
        try:
            rows = list(islice(reader, _CHUNK_ROWS))
        except csv.Error as error:
            raise ConfigError(f"{path}, line {reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not a CSV file: it holds bytes that are no text") from error
        if not rows:
            return
        if reader.line_num - before != len(rows):
            raise ConfigError(f"{path}: a quoted field goes over several lines after line {before}")
        numbers = range(before + 1, reader.line_num + 1)
        if all(rows):
            yield numbers, rows
        elif any(rows):
            filled = [(number, row) for number, row in zip(numbers, rows, strict=True) if row]
            yield [number for number, _ in filled], [row for _, row in filled]


def _is_header(row: Sequence[str]) -> bool:
    first = row[0].strip()
    return not first or (any(c.isalpha() for c in first) and not _is_number(first))


def _layout_of(path: Path, row: Sequence[str]) -> tuple[dict[str, int], bool]:
    """Return which column holds which field, and whether `row` is a header."""
    if not _is_header(row):
        if len(row) < len(_NEEDED):
            raise ConfigError(
                f"{path}, line 1: {len(row)} columns; a candle has open time, open, high, low, "
                "close and usually volume"
            )
        return {name: place for place, name in enumerate(_ORDER[: len(row)]) if name}, False
    names = [cell.strip().lower() for cell in row]
    layout = {
        name: names.index(alias)
        for name, aliases in _NAMES.items()
        for alias in aliases[::-1]
        if alias in names
    }
    missing = [name for name in _NEEDED if name not in layout]
    if missing:
        wanted = ", ".join(_NAMES[name][0] for name in missing)
        raise ConfigError(f"{path}: its header has no column {wanted}")
    return layout, True


def _parsed(
    path: Path, line_of: NDArray[np.int64], rows: list[list[str]], layout: dict[str, int]
) -> dict[str, Column]:
    """Return the rows as columns of ints."""
    try:
        texts = list(zip(*rows, strict=True))
    except ValueError as error:
        usual = len(rows[0])
        at = next(place for place, row in enumerate(rows) if len(row) != usual)
        raise ConfigError(
            f"{path}, line {line_of[at]}: {len(rows[at])} columns where the lines before have "
            f"{usual}"
        ) from error
    if max(layout.values()) >= len(texts):
        raise ConfigError(f"{path}, line {line_of[0]}: fewer columns than the header names")
    columns: dict[str, Column] = {}
    for name in _NAMES:
        place = layout.get(name)
        if place is None:
            columns[name] = np.zeros(len(rows), dtype=np.int64)
        else:
            columns[name] = _column(path, line_of, name, texts[place])
    return columns


def _column(path: Path, line_of: NDArray[np.int64], name: str, texts: Sequence[str]) -> Column:
    """Read a column at once where all is plain, else number by number, to find what is not."""
    read = _READERS.get(name, _volume)
    try:
        values, odd = _at_once(name, texts)
        exact = [(row, read(texts[row])) for row in np.flatnonzero(odd).tolist()]
    except ValueError:
        return column_of(_one_by_one(path, line_of, name, texts))
    if not exact:
        return values
    as_ints = values.tolist()
    for row, value in exact:
        as_ints[row] = value
    return column_of(as_ints)


def _one_by_one(
    path: Path, line_of: NDArray[np.int64], name: str, texts: Sequence[str]
) -> list[int]:
    read = _READERS.get(name, _volume)
    values: list[int] = []
    for text, line in zip(texts, line_of.tolist(), strict=True):
        try:
            values.append(read(text))
        except ValueError as error:
            raise ConfigError(f"{path}, line {line}: {name}: {error}") from error
    return values


def _at_once(name: str, texts: Sequence[str]) -> tuple[Column, NDArray[np.bool_]]:
    """Return a column's numbers, and which must be read again; ValueError if one is not plain."""
    letters = "".join(texts)
    if not letters.isascii() or "_" in letters:  # numbers to Python, not to anyone else
        raise ValueError(name)
    if name not in ("open_ms", "trades"):
        return _decimals(texts, is_exact=name in _PRICES)
    values = column_of(list(map(int, texts)))
    lowest, highest = (_EARLIEST_MS, _LATEST_MS) if name == "open_ms" else (0, _INT64_MAX)
    return values, (values < lowest) | (values >= highest)


def _decimals(texts: Sequence[str], *, is_exact: bool) -> tuple[Column, NDArray[np.bool_]]:
    """Return the numbers as e8, and which of them must be read again one by one.

    A number below 10 million with at most 8 decimals is told exactly by its float; the others
    (and, where it matters, those with more decimals) are marked, as is what is no amount.
    """
    numbers = np.array(list(map(float, texts)))
    odd = ~((numbers >= 0) & (numbers < _SURE_FLOAT))
    numbers = np.where(odd, 0.0, numbers)
    whole = np.floor(numbers)
    values = whole.astype(np.int64) * E8 + np.rint((numbers - whole) * E8).astype(np.int64)
    if is_exact:
        odd |= (values == 0) | (values / E8 != numbers)
    return values, odd


def _check(path: Path, line_of: NDArray[np.int64], chunk: dict[str, Column], last_ms: int) -> None:
    """Refuse the first row that is no candle after the one before it."""
    opened, high, low, closed = (chunk[name] for name in _PRICES)
    steps = np.diff(chunk["open_ms"], prepend=last_ms)
    faults = (
        (steps <= 0, "its time is not after the line before"),
        (high < low, "high is below low"),
        ((opened > high) | (opened < low), "open lies outside low and high"),
        ((closed > high) | (closed < low), "close lies outside low and high"),
    )
    for is_fault, text in faults:
        at = np.flatnonzero(is_fault)
        if len(at):
            raise ConfigError(f"{path}, line {line_of[at[0]]}: {text}")


def _joined(chunks: Sequence[dict[str, Column]], name: str) -> Column:
    joined: Column = np.concatenate([chunk[name] for chunk in chunks])
    return joined


def _interval_of(path: Path, open_ms: NDArray[np.int64], line_of: NDArray[np.int64]) -> str:
    """Return the most common spacing; every other one must be a multiple of it (a gap)."""
    if len(open_ms) < 2:
        raise ConfigError(f"{path}: one candle is too little: its interval cannot be known")
    steps = np.diff(open_ms)
    spacings, counts = np.unique(steps, return_counts=True)
    length = int(spacings[np.argmax(counts)])
    names = {ms: name for name, ms in INTERVAL_MS.items() if name != "1M"}
    interval = names.get(length)
    if interval is None:
        raise ConfigError(
            f"{path}: its candles are {length / 1000:g} s apart, which is no interval that the "
            f"exchange has ({', '.join(names.values())})"
        )
    first_ms = int(open_ms[0])
    if open_of(first_ms, interval) != first_ms:
        raise ConfigError(
            f"{path}: its {interval} candles do not open at whole {interval} boundaries "
            f"({iso_utc(first_ms)})"
        )
    odd = np.flatnonzero(steps % length)
    if len(odd):
        at = int(odd[0]) + 1
        raise ConfigError(
            f"{path}, line {line_of[at]}: {iso_utc(int(open_ms[at]))} does not fit candles of "
            f"{interval}"
        )
    return interval


def _time(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS:
        time_ms = int(text)
        if _EARLIEST_MS <= time_ms < _LATEST_MS:
            return time_ms
    raise ValueError(f"{text!r} is no time in ms UTC (2009 to 2100)")


def _count(text: str) -> int:
    value = _decimal(text)
    if value != value.to_integral_value():
        raise ValueError(f"{text!r} is no whole number")
    return int(value)


def _price(text: str) -> int:
    value = _scaled(_decimal(text), text, rounded=False)
    if not 0 < value < _MAX_PRICE_E8:
        raise ValueError(f"{text!r} is no price above 0")
    return value


def _volume(text: str) -> int:
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if (
        len(fraction) <= _PLACES
        and len(digits) <= _MOST_DIGITS
        and digits.isdecimal()
        and digits.isascii()
    ):
        scale: int = 10 ** (_PLACES - len(fraction))
        return int(digits) * scale
    return _scaled(_decimal(text), text, rounded=True)


_READERS: dict[str, Callable[[str], int]] = {
    "open_ms": _time, "open": _price, "high": _price, "low": _price, "close": _price,
    "trades": _count,
}  # fmt: skip
"""How each field is read; the others are volumes."""


def _signed_e8(text: str) -> int:
    bare = text.strip()
    value = _scaled(_decimal(bare.removeprefix("-")), text, rounded=False)
    return -value if bare.startswith("-") else value


def _scaled(value: Decimal, text: str, *, rounded: bool) -> int:
    scaled = value.scaleb(_PLACES)
    whole = scaled.to_integral_value()
    if whole != scaled and not rounded:
        raise ValueError(f"{text!r} has more than {_PLACES} decimals")
    return int(whole)


def _decimal(text: str) -> Decimal:
    """Return a finite number >= 0 of a sane size; Decimal's own extras are no numbers here."""
    if not text.isascii() or "_" in text:
        raise ValueError(f"{text!r} is no number")
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no number") from error
    if not value.is_finite() or value < 0:
        raise ValueError(f"{text!r} is no number of 0 or more")
    if value.adjusted() >= _MOST_DIGITS:
        raise ValueError(f"{text!r} is too large")
    return value


def _is_number(text: str) -> bool:
    try:
        Decimal(text)
    except InvalidOperation:
        return False
    return True
