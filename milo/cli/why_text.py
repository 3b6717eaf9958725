"""A candle's story as text for a terminal, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from milo.backtest.inquiry import Held, Outcome
from milo.backtest.ledger import Trade
from milo.cli.explain import Row
from milo.cli.why import Story
from milo.clock import iso_minute
from milo.model import EntryIntent, ExitIntent
from milo.money import plain, shown
from milo.script.actions import parse_action
from milo.script.explanation import Step
from milo.shown import shown_line

_TEXT_WIDTH = 64
_MOST_PRINTS = 50
_SIDES = {True: "true", False: "false", None: ""}


def story_text(story: Story) -> str:
    """Return the whole story, in sections; every line is fit to be shown."""
    lines = [*_head(story)]
    sections = (
        ("DECISION", _decision(story)),
        ("LINE BY LINE", _steps(_all_steps(story))),
        ("PRINTED", _prints(story)),
        ("WARNINGS", _warnings(story)),
        ("ACCOUNT before the decision", _aligned(account_rows(story))),
        ("GATES", _gates(story)),
        ("SIZE", _aligned(story.sizing)),
        ("WHAT HAPPENED", [f"  {line}" for line in happened(story)]),
    )
    for title, body in sections:
        if body:
            lines += ["", title, *body]
    return "\n".join(lines)


def _head(story: Story) -> Iterator[str]:
    candle = story.candle
    opened, closed = iso_minute(candle.open_ms), iso_minute(story.close_ms + 1)
    name = shown_line(story.script)
    yield f"{name} on {story.symbol} {story.interval}: candle {opened}, decided at {closed} UTC"
    yield (
        f"  open {candle.open:.10g}  high {candle.high:.10g}  low {candle.low:.10g}  "
        f"close {candle.close:.10g}  volume {candle.volume:.10g}"
    )


# -- the script ------------------------------------------------------------------------------


def _decision(story: Story) -> list[str]:
    lines = [f"  action: {story.action}", *(f"  {line}" for line in _how(story))]
    return [*lines, *_steps([step for step in _all_steps(story) if step.decides])]


def _how(story: Story) -> Iterator[str]:
    told = story.explanation
    if story.halted_ms is not None:
        since = iso_minute(story.halted_ms)
        yield f"the script was halted after its failure on {since} and was not run any more"
    if story.failure is not None:
        yield from str(story.failure).splitlines()
    if told is None:
        return
    if told.error is not None:
        yield "the script failed, and no order is sent on such a candle:"
        yield from str(told.error).splitlines()
    if told.result is not None:
        word = "true" if told.result.condition else "false"
        yield f"condition_true is {word}, so that action_if_{word} applies"
        if told.result.action != story.action and story.halted_ms is None:
            yield f"evaluated by itself, this candle gives {told.result.action}"
    if told.note:
        yield told.note


def _all_steps(story: Story) -> Sequence[Step]:
    return () if story.explanation is None else story.explanation.steps


def _steps(steps: Sequence[Step]) -> list[str]:
    """Return rows in columns: line, text, value, and whether it held."""
    rows = [(_place(step), _cut("  " * step.depth + step.text), _value(step)) for step in steps]
    width = max((len(text) for _, text, _ in rows), default=0)
    return [f"  {place:>9}  {text:<{width}}  {value}".rstrip() for place, text, value in rows]


def _place(step: Step) -> str:
    return f"line {step.line:>4}" if step.depth == 0 else ""


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_WIDTH else text[: _TEXT_WIDTH - 1] + "…"


def _value(step: Step) -> str:
    if step.is_test and not step.times:
        return "not looked at"
    held = _SIDES[step.held]
    value = "" if step.value == held else step.value
    times = f"(the last of {step.times:,})" if step.times > 1 else ""
    return "  ".join(part for part in (value, held, times) if part)


def _prints(story: Story) -> list[str]:
    told = story.explanation
    if told is None:
        return []
    lines = told.result.prints if told.result is not None else ()
    if told.error is not None:
        lines = told.error.prints
    more = [f"  and {len(lines) - _MOST_PRINTS:,} lines more"] if len(lines) > _MOST_PRINTS else []
    return [f"  {line}" for line in lines[:_MOST_PRINTS]] + more


def _warnings(story: Story) -> list[str]:
    told = story.explanation
    if told is None:
        return []
    lines = [f"  {text}" for text in (told.result.warnings if told.result is not None else ())]
    if told.left_out:
        lines.append(f"  {told.left_out:,} rows of values were too many and are left out")
    return lines


# -- the account -----------------------------------------------------------------------------


def account_rows(story: Story) -> list[Row]:
    """Return balance and position at the close of the candle, and what had ended within it."""
    moment, price = story.moment, story.situation.price_text
    rows: list[Row] = [
        ("price", price(moment.price)),
        ("wallet", f"{shown(moment.wallet)} USDT"),
        ("equity", f"{shown(moment.equity)} USDT, open profit included"),
        ("available", f"{shown(moment.available)} USDT"),
    ]
    held = moment.held
    if held is None:
        rows.append(("position", "none"))
    else:
        rows.append(("position", f"{_held_text(held, story)}, open since {_time(held.entry_ms)}"))
        rows.append(("open profit", f"{shown(held.unrealized)} USDT"))
        rows += _levels(held, story)
    rows += [("in this candle", _closed_text(trade, story)) for trade in moment.closed]
    return rows


def _held_text(held: Held, story: Story) -> str:
    price = story.situation.price_text(held.entry_price)
    return f"{held.direction} {plain(held.qty)} @ {price}, {held.leverage}x"


def _levels(held: Held, story: Story) -> list[Row]:
    price = story.situation.price_text
    target, liquidation = held.target_price, held.liquidation_price
    return [
        ("stop", price(held.stop_price)),
        ("target", "none" if target is None else price(target)),
        ("liquidation", "none" if liquidation is None else price(liquidation)),
    ]


def _closed_text(trade: Trade, story: Story) -> str:
    sign = "+" if trade.net >= 0 else ""
    return (
        f"{trade.direction} {plain(trade.qty)} closed @ "
        f"{story.situation.price_text(trade.exit_price)} by {trade.exit_reason}: "
        f"{sign}{shown(trade.net)} USDT after fees and funding"
    )


def _time(time_ms: int) -> str:
    # A close time is the last ms before the next candle.
    return f"{iso_minute(time_ms + 1 if time_ms % 1000 == 999 else time_ms)} UTC"


def _gates(story: Story) -> list[str]:
    names = [row.name.replace("_", " ") for row in story.gates]
    width = max(map(len, names), default=0)
    return [
        f"  {'passed' if row.is_passed else 'REFUSED':<7}  {name:<{width}}  {row.text}"
        for name, row in zip(names, story.gates, strict=True)
    ]


def happened(story: Story) -> list[str]:
    """Return what came of the action, a sentence a line."""
    held, outcome = story.moment.held, story.outcome
    if story.refusal:
        return [f"nothing was sent: {story.refusal}"]
    if outcome is not None:
        return list(_filled(outcome, story))
    told = story.explanation
    if story.failure is not None or (told is not None and told.error is not None):
        return ["nothing: the script failed"]
    match parse_action(story.action):
        case EntryIntent(direction=direction) if held is not None and held.direction is direction:
            return [
                f"nothing: a {direction} is open already since {_time(held.entry_ms)}; a signal "
                "for the side that is open changes nothing"
            ]
        case ExitIntent() if held is None:
            return ["nothing: no position is open that could be closed"]
        case EntryIntent() | ExitIntent():
            return ["nothing: this is the last candle, no other comes at whose open it could fill"]
    if held is None:
        return ["nothing: the script asked for nothing, and no position is open"]
    return [f"nothing: the script asked for nothing; the {held.direction} stays open"]


def _filled(outcome: Outcome, story: Story) -> Iterator[str]:
    place = "the close of the candle" if story.fill_at == "close" else "the next candle's open"
    where = f"at {place}, {_time(outcome.time_ms)}"
    for trade in outcome.closed:
        yield f"{_closed_text(trade, story)}, {where}"
    if outcome.opened is not None and outcome.opened.entry_ms == outcome.time_ms:
        opened = outcome.opened
        margin = f"margin {shown(opened.wallet)} USDT"
        yield f"opened {_held_text(opened, story)}, {margin}, {where}"
        levels = ", ".join(f"{label} {text}" for label, text in _levels(opened, story))
        yield levels
    if outcome.refusal:
        yield f"no position was opened {where}: {outcome.refusal}"


def _aligned(rows: Sequence[Row]) -> list[str]:
    width = max((len(label) for label, _ in rows), default=0)
    return [f"  {label:<{width}}  {text}" for label, text in rows]


# -- as data ---------------------------------------------------------------------------------


def story_content(story: Story) -> dict[str, Any]:
    """Return the story as JSON values; money as decimal strings, times in ms UTC."""
    told, candle, moment = story.explanation, story.candle, story.moment
    result = None if told is None else told.result
    error = story.failure if told is None else told.error
    return {
        "script": story.script,
        "symbol": story.symbol,
        "interval": story.interval,
        "open_time": candle.open_ms,
        "close_time": story.close_ms,
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
        "condition": None if result is None else result.condition,
        "action": story.action,
        "error": None if error is None else str(error),
        "halted_time": story.halted_ms,
        "warnings": [] if result is None else list(result.warnings),
        "prints": [] if result is None else list(result.prints),
        "steps": [_step_content(step) for step in _all_steps(story)],
        "steps_left_out": 0 if told is None else told.left_out,
        "note": "" if told is None else told.note,
        "account": {
            "price": plain(moment.price),
            "wallet": plain(moment.wallet),
            "equity": plain(moment.equity),
            "available": plain(moment.available),
            "position": None if moment.held is None else _held_content(moment.held),
            "closed": [_trade_content(trade) for trade in moment.closed],
        },
        "gates": [
            {"gate": row.name, "passed": row.is_passed, "text": row.text} for row in story.gates
        ],
        "size": [{"label": label, "text": text} for label, text in story.sizing],
        "refusal": story.refusal or None,
        "outcome": None if story.outcome is None else _outcome_content(story.outcome),
        "happened": happened(story),
    }


def _step_content(step: Step) -> dict[str, Any]:
    return {
        "line": step.line,
        "depth": step.depth,
        "text": step.text,
        "value": step.value,
        "held": step.held,
        "times": step.times,
        "decides": step.decides,
    }


def _held_content(held: Held) -> dict[str, Any]:
    return {
        "side": str(held.direction),
        "qty": plain(held.qty),
        "leverage": held.leverage,
        "entry_time": held.entry_ms,
        "entry_price": plain(held.entry_price),
        "stop": plain(held.stop_price),
        "target": _plain(held.target_price),
        "liquidation": _plain(held.liquidation_price),
        "margin": plain(held.wallet),
        "unrealized": plain(held.unrealized),
    }


def _trade_content(trade: Trade) -> dict[str, Any]:
    return {
        "side": str(trade.direction),
        "qty": plain(trade.qty),
        "entry_time": trade.entry_ms,
        "entry_price": plain(trade.entry_price),
        "exit_time": trade.exit_ms,
        "exit_price": plain(trade.exit_price),
        "reason": str(trade.exit_reason),
        "net": plain(trade.net),
    }


def _outcome_content(outcome: Outcome) -> dict[str, Any]:
    return {
        "time": outcome.time_ms,
        "opened": None if outcome.opened is None else _held_content(outcome.opened),
        "closed": [_trade_content(trade) for trade in outcome.closed],
        "refusal": outcome.refusal or None,
    }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)
