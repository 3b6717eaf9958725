"""Pieces of the pages of reports as markup (layer 1).

Every text goes through `text`, which leaves nothing that a browser or a terminal would act on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from milo.backtest.wording import Row
from milo.shown import shown_line


def text(content: str) -> str:
    """Return a text of anybody, with nothing in it that a browser or a terminal would act on."""
    return escape(shown_line(content))


def card(title: str, inner: str) -> str:
    """Return a card around markup; nothing where there is none."""
    return f'<section class="card"><h2>{text(title)}</h2>{inner}</section>' if inner else ""


def pair(*cards: str) -> str:
    """Return cards side by side, where there is room."""
    return f'<div class="pair">{"".join(cards)}</div>'


def listed(rows: Iterable[Row]) -> str:
    """Return rows whose values may be long."""
    items = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in rows)
    return f'<dl class="wide">{items}</dl>'


def figures(rows: Iterable[Row]) -> str:
    """Return rows that a browser may break into columns between, never within."""
    items = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in rows
    )
    return f"<dl>{items}</dl>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """Return a table whose first columns, so many, hold words."""
    kinds = (*(['class="word"'] * words), *([""] * (len(head) - words)))
    titles = "".join(
        f'<th scope="col" {kind}>{text(cell)}</th>' for kind, cell in zip(kinds, head, strict=True)
    )
    lines = "".join(
        "<tr>"
        + "".join(f"<td {kind}>{text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody>'
        "</table></div>"
    )
