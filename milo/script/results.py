"""A script's checked answers and its errors, as the rest of Milo gets them (the engine's side)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from milo.clock import monotonic_s
from milo.errors import ScriptError
from milo.model import ScriptResult
from milo.script.answers import checked_action, checked_marks, checked_plots
from milo.script.faults import fault_text, last_mention
from milo.script.limits import MAX_MESSAGE, MAX_PRINT_LINES
from milo.script.protocol import Result, WireAction
from milo.script.text import clean, clean_line

_DAY_S: Final = 24 * 3600.0


class Results:
    """Makes results and errors of one script, in words that name its file, line and candle."""

    def __init__(
        self, name: str, file_name: str, lines: Sequence[str], output: OutputMeter
    ) -> None:
        """Take the script's name, its file's, and the file's lines, all fit to be shown."""
        self._name = name
        self._file_name = file_name
        self._lines = lines
        self._output = output

    def result(self, result: Result, cpu_ms: float, candle: str) -> ScriptResult:
        name = "action_if_true" if result.condition else "action_if_false"
        action = result.if_true if result.condition else result.if_false
        prints, dropped = self.prints(result.printed, result.dropped_bytes)
        try:
            action = checked_action(action)
        except ValueError as error:
            raise self.error(
                f"{name}: {error}",
                candle,
                last_mention(self._lines, name),
                prints=prints,
            ) from None
        warnings = [clean_line(text, MAX_MESSAGE) for text in result.warnings]
        if dropped:
            warnings.append(f"{dropped} bytes of printed text were dropped: too much output")
        return ScriptResult(
            condition=result.condition,
            action=action,
            prints=prints,
            warnings=tuple(warnings),
            plots=checked_plots(result),
            marks=checked_marks(result),
            cpu_ms=cpu_ms,
        )

    def prints(self, printed: str, dropped: int) -> tuple[tuple[str, ...], int]:
        if not printed:
            return (), dropped
        kept = self._output.take(printed)
        if kept is None:
            return (), dropped + len(printed.encode("utf-8", "replace"))
        lines = clean(kept).removesuffix("\n").split("\n")
        dropped += sum(len(line.encode("utf-8", "replace")) + 1 for line in lines[MAX_PRINT_LINES:])
        return tuple(lines[:MAX_PRINT_LINES]), dropped

    def wrong_action(self, candle: str, action: WireAction, reason: str) -> ScriptError:
        """Return the error of an action that the grammar does not allow, as `result` raises it."""
        name = "action_if_true" if action.is_true else "action_if_false"
        return self.error(f"{name}: {reason}", candle, last_mention(self._lines, name))

    def is_line(self, line: int) -> bool:
        return 1 <= line <= len(self._lines)

    def error(
        self,
        message: str,
        candle: str,
        place: tuple[int | None, int | None, int | None] = (None, None, None),
        *,
        breach: bool = False,
        security: bool = False,
        prints: tuple[str, ...] = (),
    ) -> ScriptError:
        line, column, end_column = place
        text = fault_text(
            self._file_name,
            message,
            self._lines,
            line=line,
            column=column,
            end_column=end_column,
            candle=candle,
        )
        return ScriptError(
            text,
            script=self._name,
            message=message,
            line=line,
            column=column,
            breach=breach,
            security=security,
            prints=prints,
        )


class OutputMeter:
    """Counts printed text over 24 hours; what is over the limit is not passed on."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._since_s = monotonic_s()

    def take(self, text: str) -> str | None:
        """Return the text, or None where the limit is reached."""
        now = monotonic_s()
        if now - self._since_s >= _DAY_S:
            self._used, self._since_s = 0, now
        self._used += len(text.encode("utf-8", "replace"))
        return text if self._used <= self._limit else None
