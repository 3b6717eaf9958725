"""Where a recorded session and a backtest of it decide differently, and why (layer 1).

Two comparisons: the recorded evaluations decided again on the same inputs, where nothing may
differ; and a backtest's decisions on closed candles, where forming candles may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from milo.candles import Candles
from milo.model import Candle


class Cause(StrEnum):
    """Why a candle differs."""

    FORMING = "forming"
    """The script was asked while the candle formed, and the closed candle says something else."""
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One candle on which session and backtest differ."""

    script: str
    symbol: str
    open_ms: int
    cause: Cause
    recorded: str
    given: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One recorded evaluation, and what the script answers on the same inputs now.

    An action is None where the script failed.
    """

    open_ms: int
    time_ms: int
    is_forming: bool
    recorded: str | None
    again: str | None


def revised_candles(seen: Iterable[Candle], stored: Candles) -> list[tuple[Candle, Candle | None]]:
    """Return candles that the session saw and the store now has otherwise; None: not at all."""
    rows = {candle.open_ms: candle for candle in stored}
    return [
        (candle, rows.get(candle.open_ms)) for candle in seen if rows.get(candle.open_ms) != candle
    ]


def compare_again(script: str, symbol: str, decided: Iterable[Decided]) -> list[Difference]:
    """Return the evaluations that are answered differently on the same inputs."""
    return [
        Difference(
            script=script,
            symbol=symbol,
            open_ms=one.open_ms,
            cause=Cause.UNEXPLAINED,
            recorded=_shown(one.recorded),
            given=_shown(one.again),
            note="the same inputs give another answer",
        )
        for one in decided
        if one.recorded != one.again
    ]


def compare_closed(
    script: str, symbol: str, decided: Iterable[Decided], closed: Mapping[int, str]
) -> list[Difference]:
    """Return where the session decided otherwise than a backtest on closed candles.

    `closed`: the backtest's action by the open time of the candle. One difference a candle and
    cause; evaluations that failed are told by `compare_again`.
    """
    found: dict[tuple[int, Cause], Difference] = {}
    for one in decided:
        if one.recorded is None or one.open_ms not in closed:
            continue
        given = closed[one.open_ms]
        if one.recorded == given:
            continue
        cause = Cause.FORMING if one.is_forming else Cause.UNEXPLAINED
        note = (
            "decided while the candle formed"
            if one.is_forming
            else "the closed candle is decided otherwise"
        )
        found.setdefault(
            (one.open_ms, cause),
            Difference(
                script=script,
                symbol=symbol,
                open_ms=one.open_ms,
                cause=cause,
                recorded=one.recorded,
                given=given,
                note=note,
            ),
        )
    return list(found.values())


def _shown(action: str | None) -> str:
    return "(failed)" if action is None else action
