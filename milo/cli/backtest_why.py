"""`--backtest --why TIME`: run up to one candle, and tell what the script and the account did."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from milo.backtest.inquiry import Inquiry
from milo.backtest.slot import close_times
from milo.cli.backtest_outcome import assumptions_of
from milo.cli.backtest_turns import Decider, Turn
from milo.cli.context import App
from milo.cli.json_output import give_json, says_json_only
from milo.cli.progress import Progress
from milo.cli.why import Story, gate_rows, situation_of, sizing_rows
from milo.cli.why_text import story_content, story_text
from milo.clock import iso_minute
from milo.errors import ConfigError, ScriptError
from milo.script.actions import DO_NOTHING
from milo.script.explanation import Explanation
from milo.script.request import EvaluationRequest

if TYPE_CHECKING:
    from milo.cli.backtest import Piece


async def explain(app: App, pieces: Sequence[Piece], time_ms: int) -> None:
    """Print, or write where `--json` says, what happened on the candle of each script.

    Raises ConfigError where no script has a candle at that time, with the nearest ones.
    """
    if app.config.html is not None:
        raise ConfigError("--why explains one candle: --html belongs to the report of the whole")
    asked, missing = _asked(pieces, time_ms)
    if not asked:
        raise ConfigError(f"--why {iso_minute(time_ms)}: " + "; ".join(missing))
    for text in missing:
        app.console.warn(text)
    stories = await _Run(app, pieces, asked).stories()
    if not says_json_only(app):
        app.console.say("\n\n".join(story_text(story) for story in stories))
    if app.config.json is not None:
        content = {"time": time_ms, "candles": [story_content(story) for story in stories]}
        give_json(app, content)


def _asked(pieces: Sequence[Piece], time_ms: int) -> tuple[dict[int, int], list[str]]:
    """Return the candle of each script (place of the script -> index) that holds the time, and a
    sentence for each that has none."""
    found: dict[int, int] = {}
    missing = []
    for number, piece in enumerate(pieces):
        market = piece.market
        opens = market.candles.open_ms
        index = int(np.searchsorted(opens, time_ms, side="right")) - 1
        closes = close_times(opens[max(index, 0) : index + 1], market.interval)
        if index < 0 or time_ms > int(closes[0]):
            near = [place for place in (index, index + 1) if 0 <= place < len(opens)]
            reason = "no candle is stored there"
        elif not market.first <= index < market.end:
            near = [market.first] if index < market.first else [market.end - 1]
            reason = f"--timerange {_range(piece)} leaves that candle out"
        else:
            found[number] = index
            continue
        listed = " and ".join(iso_minute(int(opens[place])) for place in near)
        missing.append(f"{market.symbol} {market.interval}: {reason}; the nearest: {listed} UTC")
    return found, missing


def _range(piece: Piece) -> str:
    """Return the candles that are decided, as a person would say it."""
    opens, market = piece.market.candles.open_ms, piece.market
    first, last = (iso_minute(int(opens[place])) for place in (market.first, market.end - 1))
    return f"({first} to {last})"


class _Run:
    """One backtest, as far as it is needed."""

    def __init__(self, app: App, pieces: Sequence[Piece], asked: dict[int, int]) -> None:
        self._app = app
        self._asked = asked
        self._pieces = pieces
        self._closes = [close_times(p.market.candles.open_ms, p.market.interval) for p in pieces]
        self._inquiry = Inquiry([p.slot for p in pieces], assumptions_of(app.config))
        for number, index in asked.items():
            self._inquiry.note(number, index)
        self._horizon_ms = max(self._fill_ms(*item) for item in asked.items())

    def _fill_ms(self, number: int, index: int) -> int:
        """Return when an order of that candle's decision is filled: the next open, if there is one.

        After the last candle nothing is.
        """
        market = self._pieces[number].market
        if index + 1 < market.end:
            return int(market.candles.open_ms[index + 1])
        return self._closes[number].item(index) + 1

    async def stories(self) -> list[Story]:
        """Return what happened, in the order of the scripts."""
        inquiry = self._inquiry
        # Nothing after the last candle that is asked for is decided.
        cut = [self._cut(number) for number in range(len(self._pieces))]
        total = sum(piece.market.end - piece.market.first for piece in cut)
        with Progress(self._app, total) as shown:
            deciders = {
                number: Decider(piece, shown.counter())
                for number, piece in enumerate(cut)
                if piece.market.first < piece.market.end
            }
            for decider in deciders.values():
                await decider.prepare(prove_all=self._app.config.prove)
            stories = await self._played(deciders)
        for number, index in sorted(self._asked.items(), key=lambda item: self._fill_ms(*item)):
            if index + 1 < self._pieces[number].market.end:
                inquiry.pass_to(self._fill_ms(number, index))
            stories[number] = replace(stories[number], outcome=inquiry.outcome(number, index))
        return [stories[number] for number in sorted(stories)]

    async def _played(self, deciders: dict[int, Decider]) -> dict[int, Story]:
        """Let everything be decided and carried out, and tell what was asked for."""
        inquiry, stories = self._inquiry, {}
        asked = {(self._closes[n].item(index), n, index) for n, index in self._asked.items()}
        turns = (decider.turns(number) for number, decider in deciders.items())
        last: Turn | None = None
        for turn in heapq.merge(*turns, sorted(asked)):
            if turn == last:
                continue
            last = turn
            _, number, index = turn
            if turn in asked:
                stories[number] = await self._told(deciders[number], number, index)
                action = stories[number].action
            else:
                action = await deciders[number].action(inquiry, number, index)
            if action != DO_NOTHING:
                inquiry.take(number, index, action)
        return stories

    def _cut(self, number: int) -> Piece:
        """Return a script's piece with only those candles that close before the last fill."""
        piece = self._pieces[number]
        end = int(np.searchsorted(self._closes[number], self._horizon_ms))
        end = min(end, piece.market.end)
        candles = piece.market.candles.prefix(end)
        return replace(piece, market=replace(piece.market, candles=candles, end=end))

    async def _told(self, decider: Decider, number: int, index: int) -> Story:
        """Tell one candle, up to what its decision asks for."""
        piece, inquiry = self._pieces[number], self._inquiry
        candles, executor = piece.market.candles, piece.executor
        view = inquiry.account_view(number, index)
        moment = inquiry.moment(number, index)
        action = await decider.action(inquiry, number, index)
        halted = decider.decisions().halted_at
        explanation: Explanation | None = None
        failure: ScriptError | None = None
        request = EvaluationRequest(candles=candles.prefix(index + 1), account=view)
        try:
            explanation = await executor.explain(request)
        except ScriptError as error:
            failure = error
        refusal = inquiry.refusal(number, index, action)
        asked = inquiry.gate_input(number, index, action)
        assumptions = assumptions_of(self._app.config)
        situation = situation_of(moment, piece.market.contract, assumptions)
        return Story(
            script=piece.header.name,
            symbol=piece.market.symbol,
            interval=piece.market.interval,
            candle=candles.candle(index),
            index=index,
            close_ms=self._closes[number].item(index),
            fill_at=self._app.config.fill,
            explanation=explanation,
            failure=failure,
            action=action,
            halted_ms=None if halted is None or halted >= index else int(candles.open_ms[halted]),
            moment=moment,
            situation=situation,
            gates=() if asked is None else gate_rows(asked, action, situation),
            sizing=sizing_rows(action, situation),
            refusal=refusal,
        )
