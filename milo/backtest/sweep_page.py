"""The page of a sweep as markup, with a chart and a map of inputs drawn without code (layer 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from milo.backtest.markup import card, listed, table, text
from milo.backtest.sweep_text import (
    LABELS,
    NO_WINDOWS,
    Sweep,
    best_table,
    chosen_rows,
    failure_rows,
    head_lines,
    luck_rows,
    ranked_figure,
    walk_rows,
    window_table,
)
from milo.backtest.walk import POINTS, Row, Walk
from milo.backtest.wording import minute, percent

_BEST_SHOWN: Final = 25
_FAILURES_SHOWN: Final = 100
_MOST_CELLS: Final = 60
"""Of one side of a map; a wider one is not drawn."""
_WIDTH: Final = 1000
_HEIGHT: Final = 260
_SHADES: Final = (0.05, 0.33, 0.67)
"""From which share of the largest figure on a cell takes the next stronger colour."""


def sweep_body(found: Sweep) -> str:
    """Return the markup of the page's body."""
    walk = found.walk()
    lines = "".join(f'<p class="sub">{text(line)}</p>' for line in head_lines(found))
    parts = [f'<header><p class="brand">Milo sweep</p><h1>{text(found.title)}</h1>{lines}</header>']
    if walk is None:
        parts.append(f'<section class="card warn"><p>{text(NO_WINDOWS)}</p></section>')
    else:
        parts += [
            card(f"Out of sample: chosen by {found.rank} before each window", _judged(found, walk)),
            card("Windows", table(*window_table(found, walk), words=2)),
            card("Chosen inputs from window to window", _rows(chosen_rows(found, walk))),
        ]
    head, rows = best_table(found, _BEST_SHOWN)
    parts += [
        card(
            "Best in sample, found with hindsight: no forecast", table(head, rows) if rows else ""
        ),
        card(f"{LABELS[found.rank]} in sample by inputs", _map(found)),
        card("Luck", _rows(luck_rows(found))),
        card("Failed combinations", _failures(found)),
        card("Settings and assumptions", _rows(found.taken)),
    ]
    return f"<main>{''.join(parts)}</main>"


def _rows(rows: Sequence[tuple[str, str]]) -> str:
    return listed(rows) if rows else ""


def _judged(found: Sweep, walk: Walk) -> str:
    return _curve(found, walk) + listed(walk_rows(walk))


def _curve(found: Sweep, walk: Walk) -> str:
    """Return the equity over all tested parts as a drawing, a line where each part begins."""
    points = (1.0, *walk.points)
    low, high = min(points), max(points)
    span = (high - low) or 1.0

    def across(place: int) -> float:
        return round(place * _WIDTH / (len(points) - 1), 1)

    def down(value: float) -> float:
        return round(10 + (high - value) / span * (_HEIGHT - 20), 1)

    line = " ".join(f"{across(place)},{down(value)}" for place, value in enumerate(points))
    starts = "".join(
        f'<line class="part" x1="{across(n * POINTS)}" x2="{across(n * POINTS)}" y1="0" '
        f'y2="{_HEIGHT}"/>'
        for n in range(len(walk.steps))
    )
    first = minute(found.times_ms[walk.steps[0].window.test[0]])
    last = minute(found.times_ms[walk.steps[-1].window.test[1] - 1])
    told = (
        f"{first} to {last} UTC, between {percent(low - 1, 1, is_signed=True)} and "
        f"{percent(high - 1, 1, is_signed=True)}; a line where inputs are chosen anew"
    )
    return (
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Equity out of sample">{starts}'
        f'<line class="zero" x1="0" x2="{_WIDTH}" y1="{down(1.0)}" y2="{down(1.0)}"/>'
        f'<polyline points="{line}"/></svg><p class="muted">{text(told)}</p>'
    )


def _map(found: Sweep) -> str:
    """Return a table of the first two inputs, each cell the best over all others."""
    ranges = [item for item in found.ranges if len(item.values) > 1][:2]
    if len(ranges) < 2 or max(len(item.values) for item in ranges) > _MOST_CELLS:
        return ""
    places = [found.ranges.index(item) for item in ranges]
    best: dict[tuple[float, float], Row] = {}
    for row in found.best():
        best.setdefault((row.inputs[places[0]], row.inputs[places[1]]), row)
    figures = [abs(row.scores[0].ranked_by(found.rank) or 0.0) for row in best.values()]
    largest = max(figures, default=0.0)
    rows, columns = ranges
    head = "".join(f'<th scope="col">{value:g}</th>' for value in columns.values)
    lines = "".join(
        f'<tr><th scope="row">{value:g}</th>'
        + "".join(_cell(found, best.get((value, other)), largest) for other in columns.values)
        + "</tr>"
        for value in rows.values
    )
    others = len(found.ranges) > 2
    note = (
        f"{rows.name} downwards, {columns.name} to the right"
        + ("; the best over all other inputs" if others else "")
        + ". A plateau is worth more than a peak."
    )
    return (
        f'<p class="muted">{text(note)}</p><div class="scroll"><table class="heat"><thead><tr>'
        f"<th></th>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _cell(found: Sweep, row: Row | None, largest: float) -> str:
    if row is None:
        return "<td></td>"
    figure = row.scores[0].ranked_by(found.rank) or 0.0
    strength = sum(abs(figure) >= share * largest for share in _SHADES) if largest else 0
    shade = f"{'g' if figure > 0 else 'l'}{strength}" if strength else ""
    return f'<td class="{shade}">{text(ranked_figure(found, row.scores[0]))}</td>'


def _failures(found: Sweep) -> str:
    rows = failure_rows(found)
    items = "".join(f'<li class="bad">{text(line)}</li>' for line in rows[:_FAILURES_SHOWN])
    left = len(rows) - _FAILURES_SHOWN
    more = f"<li>and {left:,} more; --json has all</li>" if left > 0 else ""
    return f'<ol class="messages">{items}{more}</ol>' if items else ""
