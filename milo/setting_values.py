"""Settings as text, read into values (layer 0).

Each `read_*` takes what a flag, a variable or a file gives, and raises ValueError with what is
wanted instead where it cannot be read.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from milo.intervals import INTERVALS

RANKS = ("sharpe", "calmar", "sortino", "return", "profit_factor", "expectancy_r", "sqn")
"""What may make one combination of a sweep better than another."""
STEPPED = 0.0
"""The speed called `max`: the exchange's clock moves only when the engine is idle."""


def read_text(raw: str) -> str:
    return raw


def read_name(raw: str) -> str:
    if not raw.strip():
        raise ValueError("a name is needed")
    return raw.strip()


def read_path(raw: str) -> Path:
    if not raw or "\0" in raw:
        raise ValueError("a path is needed")
    try:
        return Path(raw).expanduser()
    except RuntimeError as error:  # `~name` of somebody whom the system does not know
        raise ValueError(str(error)) from None


def read_truth(raw: str) -> bool:
    lowered = raw.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("use true or false")


def read_whole(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        try:
            value = int(raw)
        except ValueError:
            raise ValueError("a whole number is needed") from None
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return value

    return parse


def read_positive(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        raise ValueError("a number is needed") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError("must be above 0")
    return value


def read_speed(raw: str) -> float:
    return STEPPED if raw.strip().lower() == "max" else read_positive(raw)


def read_amount(raw: str) -> Decimal:
    try:
        value = Decimal(raw.replace("_", ""))
    except InvalidOperation:
        raise ValueError("an amount of money is needed, such as 10000") from None
    if not value.is_finite() or value <= 0 or value > Decimal(10) ** 12:
        raise ValueError("must be above 0 and at most 1,000,000,000,000")
    return value


def read_percent(raw: str) -> Decimal:
    try:
        value = Decimal(raw.strip().removesuffix("%"))
    except InvalidOperation:
        raise ValueError("a percentage is needed, such as 20") from None
    if not value.is_finite() or not 0 <= value <= 100:
        raise ValueError("must be from 0 to 100")
    return value


def read_address(raw: str) -> str:
    text = raw.strip()
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise ValueError(
            "an IPv4 address of this computer is needed, such as 192.168.1.5"
        ) from None
    if address.is_unspecified or address.is_multicast:
        raise ValueError("one address of this computer is needed, not all of them")
    return str(address)


def read_intervals(raw: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in raw.split(",") if part.strip())
    for name in names:
        if name not in INTERVALS:
            raise ValueError(f"unknown interval {name!r}; use one of {' '.join(INTERVALS)}")
    if not names:
        raise ValueError(f"use one of {' '.join(INTERVALS)}")
    return names


def read_symbol(raw: str) -> str:
    symbol = raw.strip().upper()
    if not symbol.isalnum():
        raise ValueError("a symbol is letters and digits, such as BTCUSDT")
    return symbol


def read_symbols(raw: str) -> tuple[str, ...]:
    symbols = dict.fromkeys(read_symbol(part) for part in raw.split(",") if part.strip())
    if not symbols:
        raise ValueError("at least one symbol is needed, such as BTCUSDT,ETHUSDT")
    return tuple(symbols)


_TIME = re.compile(
    r"(\d{4}-\d{1,2}-\d{1,2}|\d{8})([T ]\d{1,2}:?\d{2}(:\d{2})?)?Z?|\d{12,15}", re.ASCII
)
_TIME_FORMATS = (
    "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d",
    "%Y%m%d", "%Y%m%dT%H%M",
)  # fmt: skip
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999, the last that calendars here can show."""


def read_time_ms(raw: str) -> int:
    text = raw.strip()
    # strptime alone would guess at days without leading zeros: 2025111.
    if _TIME.fullmatch(text) is not None:
        if text.isdecimal() and len(text) >= 12 and int(text) <= _LAST_MS:
            return int(text)
        for form in _TIME_FORMATS:
            try:
                moment = datetime.strptime(text.removesuffix("Z"), form).replace(tzinfo=UTC)
            except ValueError:
                continue
            return int(moment.timestamp()) * 1000
    raise ValueError("use 2025-05-10, 2025-05-10T12:00 (UTC) or milliseconds")


_RANGE = re.compile(r"(\d{8}(?:T\d{4})?)?-(\d{8}(?:T\d{4})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `start_ms` on and before `end_ms`, ms UTC; None where an end is open."""

    start_ms: int | None
    end_ms: int | None

    def __str__(self) -> str:
        ends = (self.start_ms, self.end_ms)
        return "-".join("" if ms is None else _compact(ms) for ms in ends)


def _compact(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.strftime("%Y%m%d" if time_ms % 86_400_000 == 0 else "%Y%m%dT%H%M")


def read_time_range(raw: str) -> TimeRange:
    found = _RANGE.fullmatch(raw.strip())
    if found is None or not any(found.groups()):
        raise ValueError("use 20240101-20240201T1200 (UTC); either end may be left out")
    start, end = (None if text is None else read_time_ms(text) for text in found.groups())
    if start is not None and end is not None and start >= end:
        raise ValueError("its end does not lie behind its start")
    return TimeRange(start, end)


def read_share_of_price(raw: str) -> Decimal:
    value = read_percent(raw)
    if value > 10:
        raise ValueError("must be from 0 to 10 (per cent)")
    return value


def read_signed_percent(raw: str) -> Decimal:
    text = raw.strip()
    sign = -1 if text.startswith("-") else 1
    return sign * read_share_of_price(text.removeprefix("-"))


def read_choice(*names: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw.strip() not in names:
            raise ValueError(f"use {' or '.join(names)}")
        return raw.strip()

    return parse


def read_intrabar(raw: str) -> str:
    text = raw.strip()
    if text not in ("stop", "tradingview") and text not in INTERVALS:
        raise ValueError(f"use stop, tradingview or a finer interval ({' '.join(INTERVALS[:4])})")
    return text
