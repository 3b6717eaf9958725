"""Errors of scripts as people read them: line, column, source line, caret (layer 1)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

_WIDEST_LINE: Final = 120


class ScriptFault(Exception):
    """Something is wrong with a script; line and columns count from 1, in characters.

    `end_column` is the column after the last character at fault, on the same line.
    """

    def __init__(
        self,
        message: str,
        *,
        line: int | None = None,
        column: int | None = None,
        end_column: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.end_column = end_column

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line}: {self.message}"


def fault_text(
    file_name: str,
    message: str,
    lines: Sequence[str],
    *,
    line: int | None = None,
    column: int | None = None,
    end_column: int | None = None,
    candle: str = "",
) -> str:
    """Return the whole message: where, what, and the source line with a caret under the fault.

    `lines` are the file's lines; `candle` is the time of the candle, "" where none was evaluated.
    """
    where = file_name
    if line is not None:
        where += f" line {line}"
        if column is not None:
            where += f", column {column}"
    if candle:
        where += f", bar {candle} UTC"
    head = f"{where}: {message}"
    if line is None or not 1 <= line <= len(lines) or not lines[line - 1].strip():
        return head
    shown, first, last = _window(lines[line - 1], column, end_column)
    if first is None:
        return f"{head}\n    {shown}"
    caret = " " * _width(shown[:first]) + "^" * max(1, _width(shown[first:last]))
    return f"{head}\n    {shown}\n    {caret}"


def last_mention(lines: Sequence[str], name: str) -> tuple[int | None, int | None, int | None]:
    """Return line, column and end column of the last line that names a variable."""
    for number, line in reversed(list(enumerate(lines, 1))):
        if match := re.search(rf"\b{re.escape(name)}\b", line):
            return number, match.start() + 1, match.end() + 1
    return None, None, None


def _window(
    source: str, column: int | None, end_column: int | None
) -> tuple[str, int | None, int | None]:
    """Cut a line to what fits around the fault: the part shown, first and last index in it."""
    text = source.replace("\t", " ").rstrip()
    stripped = text.lstrip()
    indent = len(text) - len(stripped)
    if column is None:
        return _cut(stripped, 0)[0], None, None
    first = max(0, column - 1 - indent)
    last = max(first + 1, (end_column or column + 1) - 1 - indent)
    shown, offset = _cut(stripped, first)
    return shown, first - offset, min(last - offset, len(shown))


def _cut(text: str, focus: int) -> tuple[str, int]:
    """Return at most `_WIDEST_LINE` characters around `focus`, and where they begin."""
    if len(text) <= _WIDEST_LINE:
        return text, 0
    start = min(max(0, focus - _WIDEST_LINE // 2), len(text) - _WIDEST_LINE)
    return text[start : start + _WIDEST_LINE], start


def _width(text: str) -> int:
    """Columns that a terminal needs: two for Korean, Japanese and Chinese, none for marks."""
    width = 0
    for character in text:
        if unicodedata.category(character) not in ("Mn", "Me", "Cf"):
            width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return width
