"""What was run and on what: the part of a report that no ledger holds (layer 1).

Texts (names, messages, arguments) are as they came: who shows them makes them harmless. Times are
ms UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from milo.backtest.decisions import Decisions, Proof
from milo.candles import PRICE_COLUMNS, Candles
from milo.model import Instrument


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedInput:
    """A `param()` of a script and the value that it had in this run."""

    name: str
    value: float
    default: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedError:
    """A candle on which a script failed; `line` is the script's, where it is known."""

    open_ms: int
    line: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedScript:
    """One script on the candles of one symbol, and how its decisions came about."""

    name: str
    text_sha256: str
    symbol: str
    interval: str
    inputs: tuple[DescribedInput, ...]
    first_ms: int
    """The open time of the first candle that was decided."""
    decided: int
    """How many candles were decided."""
    proof: Proof
    errors: tuple[DescribedError, ...] = ()
    """The first ones; `error_count` counts all."""
    error_count: int = 0
    halted_ms: int | None = None
    """The open time of the candle after whose failure the script was not run again."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedMarket:
    """The candles of one symbol, from the first of the history to the last."""

    symbol: str
    interval: str
    count: int
    first_ms: int
    """The open time of the first candle."""
    last_ms: int
    """The open time of the last candle."""
    sha256: str
    """`candles_sha256` of them."""
    source: str = ""
    """Where they are stored, in words."""
    instrument: Instrument | None = None
    """The steps and limits that orders were rounded to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescription:
    """A backtest apart from its result. `scripts` has one entry for each script and symbol."""

    scripts: tuple[DescribedScript, ...]
    markets: tuple[DescribedMarket, ...]
    version: str
    """Milo's."""
    arguments: tuple[str, ...]
    """The command line after the program's name."""
    seconds: float
    """How long it took, the report itself not included."""
    notes: tuple[str, ...] = ()
    """Further assumptions, one sentence each (whose leverage brackets, say)."""

    @property
    def start_ms(self) -> int:
        """The open time of the first decided candle of all; ValueError where no script ran."""
        return min(script.first_ms for script in self.scripts)

    @property
    def decided(self) -> int:
        return sum(script.decided for script in self.scripts)

    @property
    def input_count(self) -> int:
        """How many inputs the scripts have; one that runs on two symbols counts once."""
        return sum(
            len(inputs)
            for inputs in {
                (script.name, script.text_sha256): script.inputs for script in self.scripts
            }.values()
        )


def describe_script(
    decisions: Decisions,
    open_ms: NDArray[np.int64],
    *,
    name: str,
    text_sha256: str,
    symbol: str,
    interval: str,
    inputs: Sequence[DescribedInput] = (),
) -> DescribedScript:
    """Return the description of what a script decided on the candles that opened at `open_ms`."""
    halted = decisions.halted_at
    return DescribedScript(
        name=name,
        text_sha256=text_sha256,
        symbol=symbol,
        interval=interval,
        inputs=tuple(inputs),
        first_ms=int(open_ms[decisions.first]),
        decided=decisions.count,
        proof=decisions.proof,
        errors=tuple(
            DescribedError(
                open_ms=int(open_ms[error.index]), line=error.line, message=error.message
            )
            for error in decisions.errors
        ),
        error_count=decisions.error_count,
        halted_ms=None if halted is None else int(open_ms[halted]),
        warnings=decisions.warnings,
    )


def describe_market(
    candles: Candles,
    *,
    symbol: str,
    interval: str,
    source: str = "",
    instrument: Instrument | None = None,
) -> DescribedMarket:
    """Return the description of at least one candle, its hash included."""
    return DescribedMarket(
        symbol=symbol,
        interval=interval,
        count=len(candles),
        first_ms=int(candles.open_ms[0]),
        last_ms=int(candles.open_ms[-1]),
        sha256=candles_sha256(candles),
        source=source,
        instrument=instrument,
    )


def candles_sha256(candles: Candles) -> str:
    """Return the SHA-256 of the candles' columns, in hex.

    Hashed are, one column after the other, `open_ms` as little-endian int64 and open, high, low,
    close and volume as little-endian float64. The other threads go on meanwhile.
    """
    digest = hashlib.sha256(candles.open_ms.astype("<i8", copy=False).data)
    for name in PRICE_COLUMNS:
        digest.update(getattr(candles, name).astype("<f8", copy=False).data)
    return digest.hexdigest()
