"""Texts in columns of a terminal: tables, labelled rows, wrapped lines (layer 1)."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import east_asian_width

from milo.backtest.wording import Row
from milo.shown import shown_line

WIDTH = 100
"""No line of a report is longer, whatever names and numbers are in it."""
_LABEL = 20
_LONGEST_TEXT = 1_000


def section(title: str, rows: Sequence[Row]) -> list[str]:
    """Return a title and its rows, values wrapped beside their labels; nothing without rows."""
    if not rows:
        return []
    return [title, *labelled(rows)]


def labelled(rows: Sequence[Row]) -> list[str]:
    lines = []
    for label, value in rows:
        name = f"  {shown_line(label)}"
        if columns_of(name) < _LABEL:
            first = name + " " * (_LABEL - columns_of(name))
        else:
            lines.append(name)
            first = " " * _LABEL
        lines += wrapped(value, first=first, rest=" " * _LABEL)
    return lines


def wrapped(text: str, *, first: str, rest: str) -> list[str]:
    """Return the words in lines that begin with `first`, then `rest`, by columns of a terminal."""
    lines = []
    line, has_words = first, False
    for given in shown_line(text, _LONGEST_TEXT).split():
        word = given
        while columns_of(line) + has_words + columns_of(word) > WIDTH:
            if not has_words:
                piece = _prefix(word, WIDTH - columns_of(line))
                line, word = line + piece, word[len(piece) :]
            lines.append(line)
            line, has_words = rest, False
        line, has_words = f"{line} {word}" if has_words else line + word, True
    return [*lines, line.rstrip()]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, names: int) -> list[str]:
    """Return aligned columns; the first `names` of them to the left, the others to the right."""
    widths = [max(map(columns_of, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - columns_of(cell))
            cells.append(cell + gap if place < names else gap + cell)
        lines.append("  ".join(cells))
    return lines


def columns_of(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def cut(text: str, columns: int) -> str:
    """Return the text, cut with an ellipsis where it takes more columns."""
    return text if columns_of(text) <= columns else f"{_prefix(text, columns - 1)}…"


def _prefix(text: str, columns: int) -> str:
    """Return as much of the text's beginning as these columns hold."""
    kept = text[:columns]
    while columns_of(kept) > columns:
        kept = kept[:-1]
    return kept
