"""A sweep in words and as data: out of sample first (layer 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from milo.backtest.layout import WIDTH, cut, section, table, wrapped
from milo.backtest.search import Combination, InputRange
from milo.backtest.walk import (
    MIN_TRADES,
    Row,
    Score,
    Step,
    Walk,
    Window,
    best_first,
    luckiest_sharpe,
    walk_forward,
)
from milo.backtest.wording import UNDEFINED, minute, percent, ratio

_BEST_SHOWN: Final = 10
_ERRORS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What was searched and what came of it; `rows` may be fewer than `wanted`."""

    title: str
    """Script, symbol and interval, as they came."""
    span_ms: tuple[int, int]
    """The first candle's open time, and the last one's."""
    times_ms: Sequence[int]
    """The open time of each candle of the history, by index."""
    ranges: tuple[InputRange, ...]
    size: int
    """Of the whole grid."""
    wanted: int
    rows: tuple[Row, ...]
    windows: tuple[Window, ...]
    rank: str
    seconds: float

    def walk(self) -> Walk | None:
        """Return the walk-forward; None where none was asked for."""
        return walk_forward(self.rows, self.windows, self.rank) if self.windows else None


def sweep_text(found: Sweep) -> str:
    """Return the sweep for the console."""
    walk = found.walk()
    parts = [
        _head(found),
        _out_of_sample(found, walk) if walk is not None else _no_windows(),
        _steps(found, walk) if walk is not None else [],
        _chosen(found, walk) if walk is not None else [],
        _best(found),
        _luck(found),
        _errors(found),
    ]
    lines = "\n\n".join("\n".join(lines) for lines in parts if lines).split("\n")
    return "\n".join(cut(line.rstrip(), WIDTH) for line in lines)


def sweep_content(found: Sweep) -> dict[str, Any]:
    """Return the sweep as plain data for JSON: the walk first, then every row."""
    walk = found.walk()
    return {
        "title": found.title,
        "start_ms": found.span_ms[0],
        "end_ms": found.span_ms[1],
        "rank": found.rank,
        "inputs": [{"name": item.name, "values": list(item.values)} for item in found.ranges],
        "grid": found.size,
        "wanted": found.wanted,
        "done": len(found.rows),
        "is_complete": len(found.rows) == found.wanted,
        "out_of_sample": None
        if walk is None
        else {
            "return": walk.total_return,
            "drawdown": walk.drawdown,
            "sharpe": walk.sharpe,
            "trades": walk.trades,
            "efficiency": walk.efficiency,
            "windows": [_step_item(found, step) for step in walk.steps],
        },
        "luckiest_sharpe": luckiest_sharpe(found.rows),
        "rows": [
            {
                "inputs": _named(found, row.inputs),
                "error": row.error or None,
                "in_sample": _score_item(row.scores[0]) if row.scores else None,
            }
            for row in [*best_first(found.rows, found.rank, 0), *_unranked(found)]
        ],
        "seconds": found.seconds,
    }


def _head(found: Sweep) -> list[str]:
    tried = f"{len(found.rows):,} of {found.wanted:,} combinations"
    if found.wanted < found.size:
        tried += f", drawn from a grid of {found.size:,}"
    inputs = ", ".join(
        f"{item.name} {item.values[0]:g} to {item.values[-1]:g} ({len(item.values)})"
        for item in found.ranges
    )
    start, end = (minute(ms) for ms in found.span_ms)
    return [
        f"SWEEP  {found.title}",
        f"{start} to {end} UTC",
        *wrapped(f"{tried}; {inputs}", first="", rest="  "),
    ]


def _out_of_sample(found: Sweep, walk: Walk) -> list[str]:
    rows = [
        ("return", percent(walk.total_return, is_signed=True)),
        ("drawdown", percent(-walk.drawdown)),
        ("Sharpe", ratio(walk.sharpe)),
        ("trades", f"{walk.trades:,}"),
        ("efficiency", _efficiency(walk)),
    ]
    title = f"OUT OF SAMPLE  (chosen by {found.rank} on what came before each window)"
    return section(title, rows)


def _efficiency(walk: Walk) -> str:
    if walk.efficiency is None:
        return f"{UNDEFINED}  the chosen inputs did not even earn where they were chosen"
    text = f"{percent(walk.efficiency, 0)} of the yearly growth where they were chosen"
    return text if walk.efficiency >= 0.5 else f"{text}: most of it was fitted to the past"


def _no_windows() -> list[str]:
    return wrapped(
        "All figures below are IN SAMPLE: the inputs were chosen on the very candles on which they "
        "are shown. They say what would have been best, not what will be. --walk-forward 5 judges "
        "choices on candles that they have not seen.",
        first="",
        rest="",
    )


def _steps(found: Sweep, walk: Walk) -> list[str]:
    head = ("WINDOW", "inputs", "trained", "trades", "then", "trades", found.rank)
    rows = []
    for step in walk.steps:
        first_ms = found.times_ms[step.window.test[0]]
        if step.chosen is None or step.trained is None or step.tested is None:
            none = f"none with {MIN_TRADES} trades"
            rows.append([f"  {minute(first_ms)}", none, *[UNDEFINED] * 5])
            continue
        rows.append(
            [
                f"  {minute(first_ms)}",
                cut(_inputs(found, step.chosen), 40),
                percent(step.trained.total_return, 1, is_signed=True),
                f"{step.trained.trades:,}",
                percent(step.tested.total_return, 1, is_signed=True),
                f"{step.tested.trades:,}",
                ratio(step.tested.ranked_by(found.rank)),
            ]
        )
    return table(head, rows, names=2)


def _chosen(found: Sweep, walk: Walk) -> list[str]:
    """Return how much the choices moved: steady ones speak for a plateau, wild ones for noise."""
    chosen = [step.chosen for step in walk.steps if step.chosen is not None]
    if len(chosen) < 2:
        return []
    rows = []
    for place, item in enumerate(found.ranges):
        values = [combination[place] for combination in chosen]
        distinct = len(set(values))
        rows.append(
            (item.name, f"{min(values):g} to {max(values):g}, {distinct} of {len(chosen)} distinct")
        )
    return section("CHOSEN INPUTS", rows)


def _best(found: Sweep) -> list[str]:
    best = best_first(found.rows, found.rank, 0)[:_BEST_SHOWN]
    if not best:
        return [f"No combination closed {MIN_TRADES} trades on the whole range."]
    head = (
        f"BEST IN SAMPLE, by {found.rank}", "return", "drawdown", "Sharpe", "Calmar", "factor",
        "won", "trades",
    )  # fmt: skip
    rows = []
    for row in best:
        score = row.scores[0]
        rows.append(
            [
                f"  {cut(_inputs(found, row.inputs), 44)}",
                percent(score.total_return, 1, is_signed=True),
                percent(-score.drawdown, 1),
                ratio(score.sharpe),
                ratio(score.calmar),
                ratio(score.profit_factor),
                percent(score.win_rate, 0),
                f"{score.trades:,}",
            ]
        )
    return table(head, rows, names=1)


def _luck(found: Sweep) -> list[str]:
    luckiest = luckiest_sharpe(found.rows)
    ranked = best_first(found.rows, "sharpe", 0)
    if luckiest is None or not ranked:
        return []
    best = ranked[0].scores[0].sharpe
    text = (
        f"The best Sharpe ratio of {len(found.rows):,} tries is {ratio(best)}; if no combination "
        f"were any good, the luckiest of so many would still show about {ratio(luckiest)}."
    )
    return wrapped(text, first="", rest="")


def _errors(found: Sweep) -> list[str]:
    failed = [row for row in found.rows if row.error]
    lines = [f"FAILED  {len(failed):,} combinations"] if failed else []
    for row in failed[:_ERRORS_SHOWN]:
        lines += wrapped(f"{_inputs(found, row.inputs)}: {row.error}", first="  ", rest="    ")
    return lines


def _unranked(found: Sweep) -> list[Row]:
    ranked = {row.inputs for row in best_first(found.rows, found.rank, 0)}
    return sorted((row for row in found.rows if row.inputs not in ranked), key=lambda r: r.inputs)


def _inputs(found: Sweep, values: Combination) -> str:
    return " ".join(
        f"{item.name}={value:g}" for item, value in zip(found.ranges, values, strict=True)
    )


def _named(found: Sweep, values: Combination) -> dict[str, float]:
    return {item.name: value for item, value in zip(found.ranges, values, strict=True)}


def _score_item(score: Score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in Score.__slots__ if name != "daily"}


def _step_item(found: Sweep, step: Step) -> dict[str, Any]:
    window = step.window
    return {
        "train_ms": [found.times_ms[window.train[0]], found.times_ms[window.train[1] - 1]],
        "test_ms": [found.times_ms[window.test[0]], found.times_ms[window.test[1] - 1]],
        "inputs": None if step.chosen is None else _named(found, step.chosen),
        "in_sample": None if step.trained is None else _score_item(step.trained),
        "out_of_sample": None if step.tested is None else _score_item(step.tested),
    }
