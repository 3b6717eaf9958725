"""Backtests of scripts that read the account: decide a candle, carry it out, decide the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from milo.backtest.decisions import Decisions, Proof
from milo.backtest.execution import Execution
from milo.backtest.ledger import Assumptions, Ledger
from milo.backtest.slot import close_times
from milo.cli.progress import Progress
from milo.errors import ScriptError
from milo.script.actions import DO_NOTHING
from milo.script.failures import Failures
from milo.script.request import EvaluationRequest

if TYPE_CHECKING:
    from milo.cli.backtest import Piece

_MOST_WARNINGS = 20
_TURN = "it reads the account, so that each candle waits for what the one before it did"
Turn = tuple[int, int, int]
"""(close time of the candle, place of the script, candle): the order in which they come."""


async def execute_in_turns(
    pieces: Sequence[Piece], assumptions: Assumptions, shown: Progress, *, prove_all: bool
) -> tuple[list[Decisions], Ledger]:
    """Return what the scripts decided, and what came of it; all in the order of candle closes.

    Scripts that do not read the account are decided beforehand.
    """
    execution = Execution([piece.slot for piece in pieces], assumptions)
    deciders = [Decider(piece, shown.counter()) for piece in pieces]
    for decider in deciders:
        await decider.prepare(prove_all=prove_all)
    turns = (decider.turns(number) for number, decider in enumerate(deciders))
    for _, number, index in heapq.merge(*turns):
        action = await deciders[number].action(execution, number, index)
        if action != DO_NOTHING:
            execution.take(number, index, action)
    return [decider.decisions() for decider in deciders], execution.finish()


class Decider:
    """One script: asked at its turn, or decided at once where the account does not matter."""

    def __init__(self, piece: Piece, count: Callable[[int], None]) -> None:
        self._piece = piece
        self._count = count
        self._made: Decisions | None = None
        self._actions = {DO_NOTHING: 0}
        self._at: list[int] = []
        self._code: list[int] = []
        self._warnings: dict[str, None] = {}
        market = piece.market
        self._failures = Failures(market.candles.open_ms)
        self._close_ms = close_times(market.candles.open_ms, market.interval)

    async def prepare(self, *, prove_all: bool) -> None:
        """Decide all candles where the account does not matter; else only hand them over."""
        if self._piece.header.reads_account:
            await self._piece.executor.hold(self._piece.market.candles)
            return
        self._made = await self._piece.decide(self._count, prove_all=prove_all)

    def turns(self, number: int) -> Iterator[Turn]:
        """Yield this script's turns: every candle, or those on which something was decided."""
        market, made = self._piece.market, self._made
        spans = [(market.first, market.end)] if made is None else made.signal_spans()
        for start, end in spans:
            for index in range(start, end):
                yield self._close_ms.item(index), number, index

    async def action(self, execution: Execution, number: int, index: int) -> str:
        """Return the action of one candle, decided now unless it was before."""
        if self._made is not None:
            return self._made.action_at(index)
        action = DO_NOTHING
        if self._failures.halted_at is None:
            action = await self._evaluated(execution, number, index)
        code = self._actions.setdefault(action, len(self._actions))
        if not self._code or self._code[-1] != code:
            self._at.append(index)
            self._code.append(code)
        self._count(index + 1 - self._piece.market.first)
        return action

    async def _evaluated(self, execution: Execution, number: int, index: int) -> str:
        request = EvaluationRequest(
            candles=self._piece.market.candles.prefix(index + 1),
            account=execution.account_view(number, index),
        )
        try:
            result = await self._piece.executor.evaluate(request)
        except ScriptError as error:
            self._failures.failed(index, error)
            return DO_NOTHING
        self._failures.succeeded()
        if len(self._warnings) < _MOST_WARNINGS:
            self._warnings.update(dict.fromkeys(result.warnings))
        return result.action

    def decisions(self) -> Decisions:
        """Return all that was decided."""
        if self._made is not None:
            return self._made
        market = self._piece.market
        return Decisions(
            first=market.first,
            count=market.end - market.first,
            at=np.array(self._at, np.int64),
            code=np.array(self._code, np.int32),
            actions=tuple(self._actions),
            proof=Proof(is_lifted=False, checked=0, differing=0, note=_TURN),
            errors=tuple(self._failures.told),
            error_count=self._failures.count,
            halted_at=self._failures.halted_at,
            warnings=tuple(self._warnings),
        )
