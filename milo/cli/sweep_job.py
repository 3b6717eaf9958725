"""`--sweep-job`: one process of a sweep. A line of JSON in is a job, a line out its result.

A job is plain data, and its result depends on nothing else: the settings of the command line name
the candles, the script and what a backtest takes for granted; the job names the inputs and the
ranges. It ends with its input.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from milo.backtest.decisions import Decisions
from milo.backtest.described import candles_sha256
from milo.backtest.execution import run as execute
from milo.backtest.ledger import Assumptions, Ledger
from milo.backtest.walk import Range, Row, row_item, score_of
from milo.cli.backtest import Piece, start_pieces
from milo.cli.backtest_outcome import assumptions_of
from milo.cli.backtest_turns import execute_in_turns
from milo.cli.context import App
from milo.cli.progress import Progress
from milo.errors import ConfigError, ScriptError

_LONGEST_LINE: Final = 1024 * 1024


async def run(app: App) -> int:
    """Say what is searched, then do one job after the other until the input ends.

    Then it ends at once, in the midst of a job too: whoever asked has ended, or wants no answer.
    """
    lines = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    asked: asyncio.Queue[bytes] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        working = group.create_task(_work(app, asked))
        while line := await lines.readline():
            asked.put_nowait(line)
        working.cancel()
    return 0


async def _work(app: App, asked: asyncio.Queue[bytes]) -> None:
    async with AsyncExitStack() as stack:
        pieces = await start_pieces(app, stack)
        if len(pieces) != 1:
            raise ConfigError("a sweep is of one script on one symbol")
        piece = pieces[0]
        hashed = await asyncio.to_thread(candles_sha256, piece.market.candles)
        app.console.say(json.dumps({"script": piece.header.text_sha256, "candles": hashed}))
        while True:
            job = json.loads(await asked.get())
            row = await do_job(
                app,
                piece,
                {name: value for name, value in job["inputs"]},
                [(first, end) for first, end in job["ranges"]],
            )
            app.console.say(json.dumps(row_item(row)))


async def do_job(app: App, piece: Piece, inputs: dict[str, float], ranges: Sequence[Range]) -> Row:
    """Return the scores of one combination of inputs, one for each range of candles.

    Every range begins flat and with the first balance; the history before it is known. A candle on
    which the script fails sends no order, as in a plain backtest; where no worker can be had for
    it, the combination has an error instead.
    """
    values = tuple(inputs.values())
    assumptions = assumptions_of(app.config)
    try:
        await piece.executor.set_inputs({**app.arguments.inputs, **inputs})
        if piece.header.reads_account:
            decisions, ledgers = await _in_turns(app, piece, ranges, assumptions)
        else:
            decisions, ledgers = await _at_once(piece, ranges, assumptions)
    except ScriptError as error:
        return Row(inputs=values, error=error.message)
    opens = piece.market.candles.open_ms
    return Row(
        inputs=values,
        scores=tuple(
            score_of(ledger, start_ms=int(opens[first]))
            for ledger, (first, _) in zip(ledgers, ranges, strict=True)
        ),
        failures=decisions.error_count,
        failure=_first_failure(decisions),
        is_halted=decisions.halted_at is not None,
    )


def _first_failure(decisions: Decisions) -> str:
    if not decisions.errors:
        return ""
    first = decisions.errors[0]
    return first.message if first.line is None else f"line {first.line}: {first.message}"


async def _at_once(
    piece: Piece, ranges: Sequence[Range], assumptions: Assumptions
) -> tuple[Decisions, list[Ledger]]:
    """Decide all candles once: what a script decides does not depend on where a range begins."""
    market = piece.market
    decisions = await piece.executor.decide(
        market.candles, first=market.first, count=market.end - market.first, prove_changes=True
    )
    ledgers = [
        execute([piece.slot], [decisions.within(first, end)], assumptions) for first, end in ranges
    ]
    return decisions, ledgers


async def _in_turns(
    app: App, piece: Piece, ranges: Sequence[Range], assumptions: Assumptions
) -> tuple[Decisions, list[Ledger]]:
    """Decide each range by itself; the first decisions are those of the first range."""
    found = []
    for first, end in ranges:
        cut = dataclasses.replace(
            piece,
            market=dataclasses.replace(piece.market, first=first, end=end),
            slot=dataclasses.replace(piece.slot, first=first, end=end),
        )
        shown = Progress(app, end - first)
        found.append(await execute_in_turns([cut], assumptions, shown, prove_all=False))
    return found[0][0][0], [ledger for _, ledger in found]
