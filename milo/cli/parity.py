"""`--parity RUN`: decide a recorded session again, and compare it with a backtest of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec

from milo.backtest.decisions import Decisions
from milo.backtest.described import candles_sha256
from milo.backtest.parity import (
    Cause,
    Decided,
    Difference,
    compare_again,
    compare_closed,
    revised_candles,
)
from milo.backtest.parity_fills import FillParity, compare_fills
from milo.backtest.path_inputs import Path
from milo.backtest.recorded import KINDS, recorded_run
from milo.backtest.session import (
    RecordedEvaluation,
    RecordedHistory,
    RecordedPrice,
    RecordedSession,
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
from milo.store import journal, klines, sessions

_SHOWN = 20
_ACCOUNT = msgspec.json.Decoder(AccountView)
_NO_ACCOUNT = AccountView(available_balance=0.0)


@dataclass(slots=True, kw_only=True)
class _Findings:
    """What has been found so far."""

    evaluations: int = 0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fills: FillParity | None = None


async def run(app: App) -> int:
    """List where session and backtest differ; exit code 1 where that is unexplained."""
    check_json_path(app)
    folder = venue_folder(app.config)
    if not (folder / "journal.db").is_file():
        raise ConfigError(f"{folder} has no journal: nothing was run there")
    found = _Findings()
    async with app.make.store(folder) as store, AsyncExitStack() as stack:
        run_id = await wanted_run(store, folder, app.arguments.values[0])
        sessions_found = await _sessions(store, run_id)
        found.evaluations = sum(len(session.evaluations) for session in sessions_found)
        stored = [await _stored(store, session.history) for session in sessions_found]
        closed: list[Decisions | None] = []
        with Progress(app, found.evaluations) as shown:
            for session, candles in zip(sessions_found, stored, strict=True):
                executor = await _started(app, stack, session.history, found.notes)
                closed.append(await _compared(session, candles, executor, shown, found))
        await _compare_fills(app, store, run_id, sessions_found, stored, closed, found)
    _give(app, run_id, found)
    return 1 if any(one.cause is Cause.UNEXPLAINED for one in found.differences) else 0


async def _sessions(store: Store, run_id: str) -> list[RecordedSession]:
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
) -> RecordedSession:
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
    return RecordedSession(
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


async def _stored(store: Store, history: RecordedHistory) -> Candles:
    """Return the closed candles from the start of the history on, as they are stored now."""
    return await store.read(
        lambda conn: klines.load_candles(
            conn, history.symbol, history.timeframe, start_ms=history.first_ms
        )
    )


async def _compared(
    session: RecordedSession,
    stored: Candles,
    executor: Executor,
    shown: Progress,
    found: _Findings,
) -> Decisions | None:
    """Compare the decisions; return those on the stored candles, None where there are none."""
    history = session.history
    if candles_sha256(session.before) != history.candles_sha256:
        found.notes.append(
            f"{history.name}: the stored candles before the run no longer hash as recorded: "
            "they were revised, and decisions on them may differ"
        )
    seen = [price.candle for price in session.closed]
    found.differences += [
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
    found.differences += compare_again(history.name, history.symbol, decided)
    if history.reads_account:
        found.notes.append(
            f"{history.name}: it reads the account, so that closed candles alone do not decide it"
        )
        return None
    made = await _decided_closed(session, executor, stored)
    if made is None:
        return None
    wanted = {one.open_ms for one in session.evaluations}
    closed = {
        open_ms: made.action_at(row)
        for row, open_ms in enumerate(stored.open_ms.tolist())
        if open_ms in wanted and made.first <= row < made.first + made.count
    }
    found.differences += compare_closed(history.name, history.symbol, decided, closed)
    return made


async def _compare_fills(
    app: App,
    store: Store,
    run_id: str,
    sessions_found: Sequence[RecordedSession],
    stored: Sequence[Candles],
    closed: Sequence[Decisions | None],
    found: _Findings,
) -> None:
    if not app.config.is_sim:
        found.notes.append("fills of a real exchange follow its order book: they are not compared")
        return
    timeframes = {one.history.symbol: one.history.timeframe for one in sessions_found}
    recorded = await store.read_journal(
        lambda conn: recorded_run(
            (
                (entry.seq, entry.time_ms, entry.kind, entry.body)
                for entry in journal.iterate_kinds(conn, run_id, KINDS)
            ),
            timeframes,
        )
    )
    made = [one for one in closed if one is not None]
    parity = compare_fills(
        Path(sessions_found, stored),
        recorded,
        run_id,
        made if len(made) == len(sessions_found) else None,
    )
    found.fills = parity
    found.differences += parity.differences
    found.notes += parity.notes


async def _decided_again(
    session: RecordedSession, executor: Executor, shown: Progress
) -> list[Decided]:
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


async def _decided_closed(
    session: RecordedSession, executor: Executor, stored: Candles
) -> Decisions | None:
    """Return a backtest's decisions on the candles that the session decided on or saw close."""
    wanted = {one.open_ms for one in session.evaluations}
    wanted |= {price.candle.open_ms for price in session.closed}
    rows = [row for row, open_ms in enumerate(stored.open_ms.tolist()) if open_ms in wanted]
    if not rows:
        return None
    return await executor.decide(stored.prefix(rows[-1] + 1), first=rows[0])


def _give(app: App, run_id: str, found: _Findings) -> None:
    if app.config.json is not None:
        give_json(app, _content(run_id, found))
    if says_json_only(app):
        return
    say = app.console.say
    say(f"run {run_id}: {found.evaluations:,} evaluations decided again")
    fills = found.fills
    if fills is not None and fills.along_path + fills.recorded:
        text = f"{fills.recorded:,} orders filled; along the recorded prices {fills.along_path:,}"
        if fills.closed is not None:
            text += f", decided on closed candles {fills.closed:,}"
        if fills.by_candle is not None:
            text += f", by the rules for candles {fills.by_candle:,}"
        say(text)
    for note in found.notes:
        say(f"note: {note}")
    for title, is_fill in (("decisions", False), ("fills", True)):
        if is_fill and fills is None:
            continue
        counts = _counts([one for one in found.differences if one.is_fill is is_fill])
        say(f"{title}: " + ", ".join(f"{cause} {count:,}" for cause, count in counts.items()))
    _list(app, found.differences)


def _list(app: App, differences: Sequence[Difference]) -> None:
    # What nobody can explain comes first, else it drowns in what is as it must be.
    ordered = sorted(differences, key=lambda one: one.cause is not Cause.UNEXPLAINED)
    for one in ordered[:_SHOWN]:
        app.console.say(
            f"  {iso_minute(one.open_ms)}  {one.cause:<11}  {one.script} {one.symbol}: "
            f"recorded {one.recorded}, here {one.given} ({one.note})"
        )
    if len(differences) > _SHOWN:
        app.console.say(f"  and {len(differences) - _SHOWN:,} more: --json FILE lists all")


def _counts(differences: Sequence[Difference]) -> dict[Cause, int]:
    return {cause: sum(one.cause is cause for one in differences) for cause in Cause}


def _content(run_id: str, found: _Findings) -> dict[str, Any]:
    fills = found.fills
    return {
        "run": run_id,
        "evaluations": found.evaluations,
        "counts": {str(cause): count for cause, count in _counts(found.differences).items()},
        "fills": None
        if fills is None
        else {
            "recorded": fills.recorded,
            "along_path": fills.along_path,
            "closed": fills.closed,
            "by_candle": fills.by_candle,
        },
        "notes": found.notes,
        "differences": [
            {
                "script": one.script,
                "symbol": one.symbol,
                "open_ms": one.open_ms,
                "about": "fill" if one.is_fill else "decision",
                "cause": str(one.cause),
                "recorded": one.recorded,
                "here": one.given,
                "note": one.note,
            }
            for one in found.differences
        ],
    }
