"""What a backtest counts and tells besides its trades (layer 1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from milo.backtest.lane import Lane
from milo.backtest.ledger import Refusal

MOST_REFUSALS = 1000
_NUMBER = re.compile(r"[\d.,]+")


@dataclass(slots=True)
class RunJournal:
    """Refusals, notes and counts of one run."""

    refusals: list[Refusal] = field(default_factory=list)
    refusal_count: int = 0
    liquidations: int = 0
    ambiguous: int = 0
    settlements: int = 0
    unknown_settlements: int = 0
    _refused_runs: dict[str, int] = field(default_factory=dict)
    _notes: dict[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether more refusals are only counted."""
        return len(self.refusals) >= MOST_REFUSALS

    def refuse(self, lane: Lane, index: int, action: str, run: int, reason: str) -> None:
        """Keep a refusal; those of one run of equal signals count once."""
        symbol = lane.slot.symbol
        if self._refused_runs.get(symbol) == run:
            return
        self._refused_runs[symbol] = run
        self.refusal_count += 1
        if not self.is_full:
            self.refusals.append(
                Refusal(
                    script=lane.slot.script,
                    symbol=symbol,
                    index=index,
                    open_ms=lane.open_ms.item(index),
                    action=action,
                    reason=reason,
                )
            )

    def pass_refused(self, symbol: str, count: int, last_run: int) -> None:
        """Only count the refusals of further runs, of which `last_run` is the last."""
        assert self.is_full
        self.refusal_count += count
        self._refused_runs[symbol] = last_run

    def note(self, symbol: str, text: str) -> None:
        """Count a note; texts that differ in their numbers alone are one."""
        full = f"{symbol}: {text}"
        kind = symbol + _NUMBER.sub("#", text)
        first, count = self._notes.get(kind, (full, 0))
        self._notes[kind] = (first, count + 1)

    def notes(self) -> tuple[str, ...]:
        """Return each note once, as it was first, with how often there was one like it."""
        return tuple(
            text if count == 1 else f"{text} (the first of {count})"
            for text, count in self._notes.values()
        )
