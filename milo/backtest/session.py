"""What a script session leaves on record, so that it can be decided again (layer 1).

Records of one run carry numbers that rise in the order in which things happened, whatever kind
they are of. Times are ms UTC of the venue's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from milo.model import Candle


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedHistory:
    """One script of a run, and the closed candles that it began with."""

    script: int
    """Its place among the scripts of the run."""
    name: str
    path: str
    """The file that it was read from."""
    text_sha256: str
    inputs: Mapping[str, float]
    symbol: str
    timeframe: str
    first_ms: int
    """The open time of the first candle."""
    last_ms: int
    """The open time of the last candle before the run."""
    candles_sha256: str
    reads_account: bool
    is_live_loop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPrice:
    """A candle as the venue told it, or as it was read to fill a gap; `candle.close` is a price."""

    number: int
    script: int
    time_ms: int
    is_closed: bool
    candle: Candle


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvaluation:
    """One evaluation of a script and what it answered."""

    number: int
    script: int
    time_ms: int
    open_ms: int
    """Of the newest candle that the script saw."""
    price: int | None
    """The number of the forming candle's record; None where all candles were closed."""
    action: str | None
    """None where the script failed."""
    account_json: str | None = None
    """The account as the script saw it; only where it reads the account."""


SessionRecord = RecordedPrice | RecordedEvaluation
