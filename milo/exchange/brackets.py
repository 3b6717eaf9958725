"""Leverage brackets: how much leverage a notional may have, and the margin that it must keep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from milo.errors import ConfigError
from milo.exchange.instrument_table import BRACKETS
from milo.model import LeverageBracket
from milo.money import ONE, ZERO


def brackets_of(steps: Iterable[tuple[Decimal, int, Decimal]]) -> tuple[LeverageBracket, ...]:
    """Return brackets from ascending (cap, highest leverage, maintenance ratio).

    cum_n = cum_(n-1) + floor_n * (ratio_n - ratio_(n-1)), so that the maintenance margin does not
    jump where one bracket ends and the next begins (docs: exchange-api.md section 5).
    """
    brackets: list[LeverageBracket] = []
    floor, ratio_before, cum = ZERO, ZERO, ZERO
    for cap, leverage, ratio in steps:
        cum += floor * (ratio - ratio_before)
        brackets.append(
            LeverageBracket(floor=floor, cap=cap, max_leverage=leverage, maint_ratio=ratio, cum=cum)
        )
        floor, ratio_before = cap, ratio
    return tuple(brackets)


def tier_brackets(tier: str) -> tuple[LeverageBracket, ...]:
    """Return our own brackets: `btc`, `eth`, `large`, `mid` or `small`."""
    steps = BRACKETS[tier]
    return brackets_of((Decimal(cap), leverage, Decimal(ratio)) for cap, leverage, ratio in steps)


def bracket_entries(brackets: Sequence[LeverageBracket]) -> list[dict[str, Any]]:
    """Return the `brackets` of one symbol as the wire has them: JSON numbers, counted from 1."""
    return [
        {
            "bracket": number,
            "initialLeverage": bracket.max_leverage,
            "notionalCap": _number(bracket.cap),
            "notionalFloor": _number(bracket.floor),
            "maintMarginRatio": float(bracket.maint_ratio),
            "cum": float(bracket.cum),
        }
        for number, bracket in enumerate(brackets, start=1)
    ]


def brackets_by_symbol(body: Any, name: str) -> dict[str, tuple[LeverageBracket, ...]]:
    """Return the brackets of a recorded leverageBracket answer, by symbol.

    Raises ConfigError, naming the file and the symbol, where something is missing or wrong.
    """
    if not isinstance(body, list) or not body:
        raise ConfigError(f"{name}: not a leverageBracket answer: it is no list of symbols")
    tables: dict[str, tuple[LeverageBracket, ...]] = {}
    for entry in body:
        symbol = entry.get("symbol") if isinstance(entry, dict) else None
        if not isinstance(symbol, str) or not symbol:
            raise ConfigError(f"{name}: an entry has no symbol: {str(entry)[:80]}")
        try:
            tables[symbol] = _recorded_brackets(entry["brackets"])
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise ConfigError(f"{name}: {symbol}: {wrong_entry(error)}") from error
    return tables


def wrong_entry(error: Exception) -> str:
    """Return in words what a KeyError, InvalidOperation or ValueError says of a JSON entry."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    if isinstance(error, InvalidOperation):
        return "a number in it cannot be read"
    return str(error)


def _recorded_brackets(entries: list[dict[str, Any]]) -> tuple[LeverageBracket, ...]:
    """Read one symbol's brackets; ValueError unless they join and end in the leverage 1 or more."""
    brackets = tuple(
        LeverageBracket(
            floor=Decimal(entry["notionalFloor"]),
            cap=Decimal(entry["notionalCap"]),
            max_leverage=int(entry["initialLeverage"]),
            maint_ratio=Decimal(entry["maintMarginRatio"]),
            cum=Decimal(entry["cum"]),
        )
        for entry in sorted(entries, key=lambda entry: Decimal(entry["notionalFloor"]))
    )
    floor = ZERO
    for bracket in brackets:
        if bracket.floor != floor or bracket.cap <= floor:
            raise ValueError(f"its brackets do not join at a notional of {floor}")
        if bracket.max_leverage < 1 or not ZERO < bracket.maint_ratio < ONE:
            raise ValueError(f"its bracket from {floor} has no usable leverage and margin ratio")
        floor = bracket.cap
        if not bracket.cum.is_finite():
            raise ValueError(f"its bracket from {bracket.floor} has no usable cum")
    if not brackets:
        raise ValueError("it has no brackets")
    return brackets


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
