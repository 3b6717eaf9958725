"""`--parity RUN`: decide a recorded session again, and compare it with a backtest of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec

from milo.backtest.described import candles_sha256
from milo.backtest.parity import (
    Cause,
    Decided,
    Difference,
    compare_again,
    compare_closed,
    revised_candles,
)
from milo.backtest.session import (
    RecordedEvaluation,
    RecordedHistory,
    RecordedPrice,
    SessionRecord,
)
from milo.candles import Candles
from milo.cli import script_paths
from milo.cli.context import App, Executor, Store
from milo.cli.json_output import check_json_path, give_json, says_json_only
from milo.cli.progress import Progress
from milo.cli.replay_run import wanted_run
from milo.cli.venue import venue_folder
from milo.clock import iso_minute
from milo.errors import ConfigError, ScriptError
from milo.script.request import AccountView, EvaluationRequest
from milo.store import klines, sessions

_SHOWN = 20
_ACCOUNT = msgspec.json.Decoder(AccountView)
_NO_ACCOUNT = AccountView(available_balance=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """One script of the run with all that is on record of it."""

    history: RecordedHistory
    before: Candles
    """Of the store, from the start of the history to the start of the run."""
    prices: dict[int, RecordedPrice]
    evaluations: list[RecordedEvaluation]

    @property
    def closed(self) -> list[RecordedPrice]:
        return [price for price in self.prices.values() if price.is_closed]


async def run(app: App) -> int:
    """List where session and backtest differ; exit code 1 where that is unexplained."""
    check_json_path(app)
    folder = venue_folder(app.config)
    if not (folder / "journal.db").is_file():
        raise ConfigError(f"{folder} has no journal: nothing was run there")
    differences: list[Difference] = []
    notes: list[str] = []
    evaluations = 0
    async with app.make.store(folder) as store, AsyncExitStack() as stack:
        run_id = await wanted_run(store, folder, app.arguments.values[0])
        found = await _sessions(store, run_id)
        evaluations = sum(len(session.evaluations) for session in found)
        with Progress(app, evaluations) as shown:
            for session in found:
                executor = await _started(app, stack, session.history, notes)
                differences += await _compared(store, session, executor, shown, notes)
    _give(app, run_id, evaluations, differences, notes)
    return 1 if any(one.cause is Cause.UNEXPLAINED for one in differences) else 0


async def _sessions(store: Store, run_id: str) -> list[_Session]:
    histories = await store.read_journal(lambda conn: sessions.read_histories(conn, run_id))
    if not histories:
        raise ConfigError(
            f"run {run_id} has no record of what its scripts saw: it was made by an earlier Milo, "
            "or ended before it began"
        )
    records = await store.read_journal(lambda conn: sessions.read_records(conn, run_id))
    return [await _session(store, history, records) for history in histories]


async def _session(
    store: Store, history: RecordedHistory, records: Sequence[SessionRecord]
) -> _Session:
    mine = [record for record in records if record.script == history.script]
    before = await store.read(
        lambda conn: klines.load_candles(
            conn,
            history.symbol,
            history.timeframe,
            start_ms=history.first_ms,
            before_ms=history.last_ms + 1,
        )
    )
    return _Session(
        history=history,
        before=before,
        prices={record.number: record for record in mine if isinstance(record, RecordedPrice)},
        evaluations=[record for record in mine if isinstance(record, RecordedEvaluation)],
    )


async def _started(
    app: App, stack: AsyncExitStack, history: RecordedHistory, notes: list[str]
) -> Executor:
    (path,) = script_paths([history.path])
    executor = app.make.executor(path, history.inputs, is_trusted=app.config.trust_script)
    stack.push_async_callback(executor.close)
    header = await executor.start()
    if header.text_sha256 != history.text_sha256:
        notes.append(f"{history.name}: the script was changed since the run")
    return executor


async def _compared(
    store: Store,
    session: _Session,
    executor: Executor,
    shown: Progress,
    notes: list[str],
) -> list[Difference]:
    history = session.history
    if candles_sha256(session.before) != history.candles_sha256:
        notes.append(
            f"{history.name}: the stored candles before the run no longer hash as recorded: "
            "they were revised, and decisions on them may differ"
        )
    seen = [price.candle for price in session.closed]
    stored = await store.read(
        lambda conn: klines.load_candles(
            conn, history.symbol, history.timeframe, start_ms=history.first_ms
        )
    )
    revised = [
        Difference(
            script=history.name,
            symbol=history.symbol,
            open_ms=candle.open_ms,
            cause=Cause.UNEXPLAINED,
            recorded=str(candle),
            given="(not stored)" if now is None else str(now),
            note="the stored candle is another one than the run saw",
        )
        for candle, now in revised_candles(seen, stored)
    ]
    decided = await _decided_again(session, executor, shown)
    again = compare_again(history.name, history.symbol, decided)
    if history.reads_account:
        notes.append(
            f"{history.name}: it reads the account, so that closed candles alone do not decide it"
        )
        return revised + again
    closed = await _closed_actions(session, executor, stored)
    return revised + again + compare_closed(history.name, history.symbol, decided, closed)


async def _decided_again(session: _Session, executor: Executor, shown: Progress) -> list[Decided]:
    candles = session.before
    waiting = session.closed
    count = shown.counter()
    decided = []
    for number, one in enumerate(session.evaluations, start=1):
        forming = None if one.price is None else session.prices[one.price].candle
        limit_ms = one.open_ms if forming is None else one.open_ms - 1
        while waiting and waiting[0].candle.open_ms <= limit_ms:
            candles = candles.appended(waiting.pop(0).candle)
        account = _NO_ACCOUNT if one.account_json is None else _ACCOUNT.decode(one.account_json)
        request = EvaluationRequest(candles=candles, forming=forming, account=account)
        try:
            again: str | None = (await executor.evaluate(request)).action
        except ScriptError:
            again = None
        decided.append(
            Decided(
                open_ms=one.open_ms,
                time_ms=one.time_ms,
                is_forming=forming is not None,
                recorded=one.action,
                again=again,
            )
        )
        count(number)
    return decided


async def _closed_actions(session: _Session, executor: Executor, stored: Candles) -> dict[int, str]:
    """Return a backtest's action on each stored candle that the session decided on."""
    wanted = {one.open_ms for one in session.evaluations}
    rows = [row for row, open_ms in enumerate(stored.open_ms.tolist()) if open_ms in wanted]
    if not rows:
        return {}
    made = await executor.decide(stored.prefix(rows[-1] + 1), first=rows[0])
    return {int(stored.open_ms[row]): made.action_at(row) for row in rows}


def _give(
    app: App,
    run_id: str,
    evaluations: int,
    differences: Sequence[Difference],
    notes: Sequence[str],
) -> None:
    counts = {cause: sum(one.cause is cause for one in differences) for cause in Cause}
    if app.config.json is not None:
        give_json(app, _content(run_id, evaluations, differences, notes, counts))
    if says_json_only(app):
        return
    say = app.console.say
    say(f"run {run_id}: {evaluations:,} evaluations decided again")
    for note in notes:
        say(f"note: {note}")
    say(", ".join(f"{cause}: {count:,}" for cause, count in counts.items()))
    for one in differences[:_SHOWN]:
        say(
            f"  {iso_minute(one.open_ms)}  {one.cause:<11}  {one.script} {one.symbol}: "
            f"recorded {one.recorded}, here {one.given} ({one.note})"
        )
    if len(differences) > _SHOWN:
        say(f"  and {len(differences) - _SHOWN:,} more: --json FILE lists all")


def _content(
    run_id: str,
    evaluations: int,
    differences: Sequence[Difference],
    notes: Sequence[str],
    counts: dict[Cause, int],
) -> dict[str, Any]:
    return {
        "run": run_id,
        "evaluations": evaluations,
        "counts": {str(cause): count for cause, count in counts.items()},
        "notes": list(notes),
        "differences": [
            {
                "script": one.script,
                "symbol": one.symbol,
                "open_ms": one.open_ms,
                "cause": str(one.cause),
                "recorded": one.recorded,
                "here": one.given,
                "note": one.note,
            }
            for one in differences
        ],
    }
