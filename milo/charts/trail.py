"""What a script said on each candle of a run: condition, action, lines, notes, text (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from milo.model import ScriptResult

MOST_KEPT: Final = 20_000
_SPARE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Said:
    """One candle's evaluation, the newest where there were several."""

    open_ms: int
    is_forming: bool
    result: ScriptResult


@dataclass(frozen=True, slots=True)
class _Kept:
    """`first`: how many candles' words were forgotten before the first one here."""

    first: int
    said: list[Said]


class ScriptTrail:
    """The words of one script, candle by candle, the newest ones.

    One thread writes; another may read meanwhile: what it got holds still, but for the last item.
    """

    def __init__(self) -> None:
        self._kept = _Kept(0, [])

    def __len__(self) -> int:
        """How many candles there were in all."""
        kept = self._kept
        return kept.first + len(kept.said)

    def add(self, open_ms: int, result: ScriptResult, *, is_forming: bool) -> None:
        """Note an evaluation of the newest candle, closed or forming."""
        kept = self._kept
        said = Said(open_ms, is_forming, result)
        if kept.said and kept.said[-1].open_ms == open_ms:
            kept.said[-1] = said
            return
        if len(kept.said) >= MOST_KEPT + _SPARE:
            kept = self._kept = _Kept(kept.first + _SPARE, kept.said[_SPARE:])
        kept.said.append(said)

    def since(self, place: int) -> tuple[int, Sequence[Said]]:
        """Return the words from the candle at `place` on, and the place of the first of them."""
        kept = self._kept
        start = max(0, place - kept.first)
        return kept.first + start, kept.said[start:]

    def between(self, first_ms: int, last_ms: int) -> list[Said]:
        """Return the words of candles that open within these times, both included."""
        return [said for said in self._kept.said if first_ms <= said.open_ms <= last_ms]
