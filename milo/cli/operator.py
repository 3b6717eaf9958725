"""What the person in front of the terminal is told during a run, and what the chart shows of it."""

from __future__ import annotations

from collections import deque

from milo.charts.snapshot import LogKind, LogLine
from milo.cli.context import Slot
from milo.clock import VenueClock, iso_minute
from milo.commands import Note, NoteKind
from milo.model import ScriptResult
from milo.ports import Console
from milo.shown import shown_line

LINES_KEPT = 300
_LOUD = frozenset({NoteKind.PROBLEM})
_LOG_KINDS = {NoteKind.PROBLEM: LogKind.ERROR, NoteKind.REFUSED: LogKind.WARNING}


class Operator:
    """Prints lines with the venue's time, and keeps the newest for the chart page.

    One call is one line, whatever a venue's answer in it holds; only a script's error has more.
    """

    def __init__(self, console: Console, clock: VenueClock, *, shows_prints: bool) -> None:
        self._console = console
        self._clock = clock
        self._shows_prints = shows_prints
        self.lines: deque[LogLine] = deque(maxlen=LINES_KEPT)
        self._symbols: dict[str, set[str]] = {}
        """Of each script's name: a line of one that runs on several says on which."""

    def say(self, text: str) -> None:
        """Tell a line of the run."""
        text = shown_line(text)
        self._keep(LogKind.EVENT, text)
        self._console.say(text)

    def problem(self, text: str) -> None:
        """Tell a line that someone may have to act upon."""
        text = shown_line(text)
        self._keep(LogKind.ERROR, text)
        self._console.warn(f"{self._now()} {text}")

    def note(self, note: Note) -> None:
        """Tell what the trading core did or refused."""
        text = shown_line(f"{note.symbol} {note.text}")
        self._keep(_LOG_KINDS.get(note.kind, LogKind.EVENT), text)
        line = f"{self._now()} {text}  [{shown_line(note.script)}]"
        if note.kind in _LOUD:
            self._console.warn(line)
        else:
            self._console.say(line)

    def script_line(self, slot: Slot, text: str, is_problem: bool) -> None:
        """Show what a script printed, or its error; its own text never looks like ours."""
        if is_problem:
            self._keep(LogKind.ERROR, f"{self._title(slot)}: {text}")
            self._console.warn(f"{self._now()} {self._title(slot)}: {text}")
            return
        self._keep(LogKind.PRINT, text)
        if self._shows_prints:
            self._console.say(f"  {self._title(slot)} | {text}")

    def say_history(self, slot: Slot) -> None:
        """Tell where a script's history starts: it is fixed for the run."""
        self._symbols.setdefault(slot.name, set()).add(slot.symbol)
        first = iso_minute(int(slot.candles.open_ms[0]))
        self.say(
            f"script {slot.name}: {slot.symbol} {slot.timeframe}, {len(slot.candles):,} closed "
            f"candles, history from {first} UTC"
        )

    def say_result(self, slot: Slot, result: ScriptResult | None) -> None:
        """Tell what a single evaluation said."""
        if result is not None:
            newest = iso_minute(int(slot.candles.open_ms[-1]))
            self.say(
                f"{self._title(slot)} on the candle of {newest} UTC: condition {result.condition}, "
                f"action {result.action}"
            )

    def _title(self, slot: Slot) -> str:
        is_on_several = len(self._symbols.get(slot.name, ())) > 1
        return f"{slot.name} {slot.symbol}" if is_on_several else slot.name

    def _keep(self, kind: LogKind, text: str) -> None:
        self.lines.append(LogLine(time_ms=self._clock.now_ms(), kind=kind, text=text))

    def _now(self) -> str:
        return iso_minute(self._clock.now_ms())
