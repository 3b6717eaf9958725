"""A sweep in words and as data: out of sample first (layer 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from milo.backtest.layout import WIDTH, cut, section, table, wrapped
from milo.backtest.luck import Luck, luck_of
from milo.backtest.search import Combination, InputRange
from milo.backtest.walk import (
    Row,
    Score,
    Step,
    Walk,
    Window,
    best_first,
    walk_forward,
)
from milo.backtest.wording import UNDEFINED, counted, minute, percent, ratio

BEST_SHOWN: Final = 10
_ERRORS_SHOWN: Final = 5
_CHOICE_COLUMNS: Final = 28
LABELS: Final = {
    "sharpe": "Sharpe", "calmar": "Calmar", "sortino": "Sortino", "return": "return",
    "profit_factor": "factor", "expectancy_r": "in R", "sqn": "SQN",
}  # fmt: skip
"""The names of `milo.setting_values.RANKS` as columns."""
SCHEMA: Final = 1
"""Counts up where a key changes its meaning."""


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
    min_trades: int
    resumed: int
    """How many of the rows an earlier run had done."""
    taken: tuple[tuple[str, str], ...]
    """What all combinations have in common, in words."""
    seconds: float

    def walk(self) -> Walk | None:
        """Return the walk-forward; None where none was asked for."""
        if not self.windows:
            return None
        return walk_forward(self.rows, self.windows, self.rank, self.min_trades)

    def luck(self) -> Luck | None:
        """Return how good the best would look by chance; None where that cannot be told."""
        return luck_of(self.rows, self.min_trades)

    def best(self) -> list[Row]:
        """Return the rows that count, the best over all candles first."""
        return best_first(self.rows, self.rank, 0, self.min_trades)


def sweep_text(found: Sweep) -> str:
    """Return the sweep for the console."""
    walk = found.walk()
    parts = [
        _head(found),
        _out_of_sample(found, walk) if walk is not None else wrapped(NO_WINDOWS, first="", rest=""),
        _steps(found, walk) if walk is not None else [],
        _chosen(found, walk) if walk is not None else [],
        _best(found),
        _luck(found),
        _errors(found),
        section("ASSUMPTIONS", found.taken),
    ]
    lines = "\n\n".join("\n".join(lines) for lines in parts if lines).split("\n")
    return "\n".join(cut(line.rstrip(), WIDTH) for line in lines)


def sweep_content(found: Sweep) -> dict[str, Any]:
    """Return the sweep as plain data for JSON: the walk first, then every row."""
    walk, luck = found.walk(), found.luck()
    return {
        "schema": SCHEMA,
        "title": found.title,
        "assumptions_in_words": [{"name": name, "text": text} for name, text in found.taken],
        "start_ms": found.span_ms[0],
        "end_ms": found.span_ms[1],
        "rank": found.rank,
        "min_trades": found.min_trades,
        "inputs": [{"name": item.name, "values": list(item.values)} for item in found.ranges],
        "grid": found.size,
        "wanted": found.wanted,
        "done": len(found.rows),
        "is_complete": len(found.rows) == found.wanted,
        "out_of_sample": None
        if walk is None
        else {
            "return": walk.total_return,
            "cagr": walk.cagr,
            "buy_and_hold": walk.buy_and_hold,
            "drawdown": walk.drawdown,
            "sharpe": walk.sharpe,
            "trades": walk.trades,
            "win_rate": walk.win_rate,
            "profit_factor": walk.profit_factor,
            "won_windows": walk.won_windows,
            "efficiency": walk.efficiency,
            "windows": [_step_item(found, step) for step in walk.steps],
        },
        "luck": None
        if luck is None
        else {
            "tried": luck.tried,
            "best_sharpe": luck.best,
            "inputs": _named(found, luck.inputs),
            "deviation": luck.deviation,
            "expected_best_sharpe": luck.expected_best,
            "deflated": luck.deflated,
        },
        "rows": [
            {
                "inputs": _named(found, row.inputs),
                "error": row.error or None,
                "failures": row.failures,
                "first_failure": row.failure or None,
                "is_halted": row.is_halted,
                "in_sample": _score_item(row.scores[0]) if row.scores else None,
                "trained": [_score_item(score) for score in row.scores[1::2]],
                "tested": [_score_item(score) for score in row.scores[2::2]],
            }
            for row in [*found.best(), *_unranked(found)]
        ],
        "seconds": found.seconds,
    }


def _head(found: Sweep) -> list[str]:
    lines = [f"SWEEP  {found.title}"]
    for text in head_lines(found):
        lines += wrapped(text, first="", rest="  ")
    return lines


def head_lines(found: Sweep) -> list[str]:
    """Return what was tried, on which candles, and how far it came."""
    tried = f"{len(found.rows):,} of {found.wanted:,} combinations"
    if found.wanted < found.size:
        tried += f", drawn from a grid of {found.size:,}"
    inputs = ", ".join(
        f"{item.name} {item.values[0]:g} to {item.values[-1]:g} ({len(item.values)})"
        for item in found.ranges
    )
    start, end = (minute(ms) for ms in found.span_ms)
    lines = [f"{start} to {end} UTC", f"{tried}; {inputs}"]
    if found.resumed:
        lines.append(f"{counted(found.resumed, 'combination')} done before")
    if len(found.rows) < found.wanted:
        lines.append("STOPPED before the end: the same command goes on from here")
    return lines


def _out_of_sample(found: Sweep, walk: Walk) -> list[str]:
    title = f"OUT OF SAMPLE  (chosen by {found.rank} on what came before each window)"
    return section(title, walk_rows(walk))


def walk_rows(walk: Walk) -> list[tuple[str, str]]:
    """Return what choosing anew at each window would have brought."""
    return [
        (
            "return",
            f"{percent(walk.total_return, is_signed=True)}  (buy & hold "
            f"{percent(walk.buy_and_hold, is_signed=True)})",
        ),
        ("CAGR (365 days)", percent(walk.cagr, is_signed=True)),
        ("drawdown", percent(-walk.drawdown)),
        ("Sharpe", ratio(walk.sharpe)),
        (
            "trades",
            f"{walk.trades:,}, {percent(walk.win_rate, 0)} won, profit factor "
            f"{ratio(walk.profit_factor)}",
        ),
        ("windows won", f"{walk.won_windows} of {len(walk.steps)}"),
        ("efficiency", _efficiency(walk)),
    ]


def _efficiency(walk: Walk) -> str:
    if walk.efficiency is None:
        return f"{UNDEFINED}  the choices earned nothing, or lost all, where they were chosen"
    text = f"{percent(walk.efficiency, 0)} of the growth a day where they were chosen"
    return text if walk.efficiency >= 0.5 else f"{text}: most of it was fitted to the past"


NO_WINDOWS: Final = (
    "All figures below are IN SAMPLE: the inputs were chosen on the very candles on which they are "
    "shown. They say what would have been best, not what will be. --walk-forward 5 judges choices "
    "on candles that they have not seen."
)


def _steps(found: Sweep, walk: Walk) -> list[str]:
    return table(*window_table(found, walk), names=2)


def window_table(found: Sweep, walk: Walk) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: what each window chose, with figures in sample and out of it."""
    label = LABELS[found.rank]
    head = ["WINDOW", "inputs", f"{label} in", "out", "return in", "out"]
    head += ["drawdown", "trades"]
    return head, [_window_row(found, step) for step in walk.steps]


def _window_row(found: Sweep, step: Step) -> list[str]:
    first = f"  {minute(found.times_ms[step.window.test[0]])}"
    if step.chosen is None or step.trained is None or step.tested is None:
        return [first, f"none with {counted(found.min_trades, 'trade')}", *[UNDEFINED] * 6]
    return [
        first,
        cut(_inputs(found, step.chosen), _CHOICE_COLUMNS),
        ranked_figure(found, step.trained),
        ranked_figure(found, step.tested),
        percent(step.trained.total_return, 1, is_signed=True),
        percent(step.tested.total_return, 1, is_signed=True),
        percent(-step.tested.drawdown, 1),
        f"{step.tested.trades:,}",
    ]


def ranked_figure(found: Sweep, score: Score) -> str:
    """Return what a score is ranked by, in words."""
    if found.rank == "return":
        return percent(score.total_return, 1, is_signed=True)
    return ratio(score.ranked_by(found.rank))


def _chosen(found: Sweep, walk: Walk) -> list[str]:
    return section("CHOSEN INPUTS", chosen_rows(found, walk))


def chosen_rows(found: Sweep, walk: Walk) -> list[tuple[str, str]]:
    """Return how much the choices moved: steady ones speak for a plateau, wild ones for noise."""
    chosen = [step.chosen for step in walk.steps if step.chosen is not None]
    if len(chosen) < 2:
        return []
    rows = []
    for place, item in enumerate(found.ranges):
        values = [combination[place] for combination in chosen]
        width = item.values[-1] - item.values[0]
        spread = (max(values) - min(values)) / width if width else None
        rows.append(
            (
                item.name,
                f"{' '.join(f'{value:g}' for value in values)}  ({len(set(values))} of "
                f"{len(values)} distinct, over {percent(spread, 0)} of what was tried)",
            )
        )
    return rows


def _best(found: Sweep) -> list[str]:
    head, rows = best_table(found, BEST_SHOWN)
    if not rows:
        return [f"No combination closed {counted(found.min_trades, 'trade')} on the whole range."]
    lines = table(head, rows, names=1)
    left = len(found.best()) - len(rows)
    return [*lines, f"  and {left:,} more; --json has all"] if left else lines


def best_table(found: Sweep, most: int) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the best combinations over all candles."""
    others = [LABELS[found.rank]] if found.rank in ("sortino", "expectancy_r", "sqn") else []
    head = [f"BEST IN SAMPLE, by {found.rank}", *others]
    head += ["return", "drawdown", "Sharpe", "Calmar", "factor", "won", "trades"]
    rows = []
    for row in found.best()[:most]:
        score = row.scores[0]
        rows.append(
            [
                f"  {cut(_inputs(found, row.inputs), 40)}",
                *(ranked_figure(found, score) for _ in others),
                percent(score.total_return, 1, is_signed=True),
                percent(-score.drawdown, 1),
                ratio(score.sharpe),
                ratio(score.calmar),
                ratio(score.profit_factor),
                percent(score.win_rate, 0),
                f"{score.trades:,}",
            ]
        )
    return head, rows


def _luck(found: Sweep) -> list[str]:
    return section("LUCK", luck_rows(found))


def luck_rows(found: Sweep) -> list[tuple[str, str]]:
    """Return how good the best would look by chance alone."""
    luck = found.luck()
    if luck is None:
        return []
    return [
        ("tried", f"{counted(luck.tried, 'combination')}: the more, the luckier the best of them"),
        ("best Sharpe", f"{ratio(luck.best)}  ({_inputs(found, luck.inputs)})"),
        (
            "by chance",
            f"{ratio(luck.expected_best)}: the best of so many if none were any good, where they "
            f"scatter by {ratio(luck.deviation)} as these do",
        ),
        (
            "deflated",
            f"{percent(luck.deflated, 1)} probability that the best one is truly better than that",
        ),
    ]


def _errors(found: Sweep) -> list[str]:
    rows = failure_rows(found)
    lines = [f"FAILED  {counted(len(rows), 'combination')}"] if rows else []
    for text in rows[:_ERRORS_SHOWN]:
        lines += wrapped(text, first="  ", rest="    ")
    if len(rows) > _ERRORS_SHOWN:
        lines.append(f"  and {len(rows) - _ERRORS_SHOWN:,} more; --json has all")
    return lines


def failure_rows(found: Sweep) -> list[str]:
    """Return the combinations that failed, wholly or on some candles, and with what."""
    rows = []
    for row in found.rows:
        inputs = _inputs(found, row.inputs)
        if row.error:
            rows.append(f"{inputs}: {row.error}")
        elif row.failures:
            halted = ", then halted" if row.is_halted else ""
            on = f"on {counted(row.failures, 'candle')}{halted}"
            rows.append(f"{inputs}: {on}, first: {row.failure}")
    return rows


def _unranked(found: Sweep) -> list[Row]:
    ranked = {row.inputs for row in found.best()}
    return sorted((row for row in found.rows if row.inputs not in ranked), key=lambda r: r.inputs)


def _inputs(found: Sweep, values: Combination) -> str:
    return " ".join(
        f"{item.name}={value:g}" for item, value in zip(found.ranges, values, strict=True)
    )


def _named(found: Sweep, values: Combination) -> dict[str, float]:
    return {item.name: value for item, value in zip(found.ranges, values, strict=True)}


def _score_item(score: Score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in Score.__slots__}


def _step_item(found: Sweep, step: Step) -> dict[str, Any]:
    window = step.window
    return {
        "train_ms": [found.times_ms[window.train[0]], found.times_ms[window.train[1] - 1]],
        "test_ms": [found.times_ms[window.test[0]], found.times_ms[window.test[1] - 1]],
        "inputs": None if step.chosen is None else _named(found, step.chosen),
        "in_sample": None if step.trained is None else _score_item(step.trained),
        "out_of_sample": None if step.tested is None else _score_item(step.tested),
    }
