"""`--backtest --sweep`: many inputs on all cores, kept as they come, judged out of sample."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from milo import __version__
from milo.backtest.described import candles_sha256
from milo.backtest.search import Combination, InputRange, combinations, grid_size, ranges_of
from milo.backtest.sweep_text import Sweep, sweep_content, sweep_text
from milo.backtest.walk import Range, Row, Window, ranges_of_windows, row_item, row_of, windows_of
from milo.backtest.wording import exact_percent, taken_rows
from milo.cli.backtest import Piece, start_pieces
from milo.cli.backtest_outcome import assumptions_of
from milo.cli.context import App
from milo.cli.json_output import give_json, says_json_only
from milo.cli.progress import Progress
from milo.clock import monotonic_s
from milo.config import Config, child_environment, flag_of, shown_value
from milo.errors import ConfigError, StoreError
from milo.store.files import make_private_folder

FOLDER: Final = "sweeps"
_MAIN: Final = Path(__file__).resolve().parents[2] / "main.py"
_PASSED_ON: Final = (
    "exchange", "symbol", "interval", "timerange", "fee", "slippage", "fill", "intrabar",
    "funding_assumed", "balance_start", "max_daily_loss", "max_positions", "max_risk",
    "max_leverage", "symbols",
)  # fmt: skip
_LONGEST_LINE: Final = 64 * 1024 * 1024
_TRIES: Final = 2
_END_S: Final = 3.0


async def sweep(app: App) -> int:
    """Try the combinations, show what came of them; Ctrl-C shows what is done."""
    started_s = monotonic_s()
    async with AsyncExitStack() as stack:
        pieces = await start_pieces(app, stack)
        if len(pieces) != 1:
            raise ConfigError("--sweep is for one script on one symbol")
        piece = pieces[0]
        hashed = await asyncio.to_thread(candles_sha256, piece.market.candles)
    ranges, wanted = _wanted(app, piece)
    windows = _windows(app.config, piece)
    parts = ranges_of_windows(piece.market.first, piece.market.end, windows)
    key = _key(app, piece, hashed, parts)
    kept = _Kept(app.config.data_dir / FOLDER / f"{piece.header.name}-{key[:16]}.jsonl", ranges)
    rows = {row.inputs: row for row in kept.read() if row.inputs in set(wanted)}
    resumed = len(rows)

    def give() -> None:
        found = Sweep(
            title=f"{piece.header.name} on {piece.market.symbol} {piece.market.interval}",
            span_ms=_span(piece),
            times_ms=piece.market.candles.open_ms.tolist(),
            ranges=ranges,
            size=grid_size(ranges),
            wanted=len(wanted),
            rows=tuple(rows[inputs] for inputs in wanted if inputs in rows),
            windows=windows,
            rank=app.config.rank,
            min_trades=app.config.min_trades,
            resumed=resumed,
            taken=_taken(app, piece, hashed),
            seconds=monotonic_s() - started_s,
        )
        if not says_json_only(app):
            app.console.say(sweep_text(found))
            app.console.say(f"results: {kept.path}")
        give_json(app, sweep_content(found))
        _write_page(app, found)

    said = {"script": piece.header.text_sha256, "candles": hashed}
    jobs = _Jobs(app, [item.name for item in ranges], parts, said)
    try:
        with Progress(app, len(wanted), noun="combinations") as shown:
            count = shown.counter()
            count(len(rows))
            async with contextlib.aclosing(
                jobs.done([inputs for inputs in wanted if inputs not in rows])
            ) as done:
                async for row in done:
                    rows[row.inputs] = row
                    kept.add(row)
                    count(len(rows))
    except asyncio.CancelledError:
        if rows:
            give()
        raise
    give()
    return 0


def _write_page(app: App, found: Sweep) -> None:
    path = app.config.html
    if path is None:
        return
    from milo.backtest.html import sweep_page

    try:
        path.write_text(sweep_page(found), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    if not says_json_only(app):
        app.console.say(f"report: {path}")


def _wanted(app: App, piece: Piece) -> tuple[tuple[InputRange, ...], list[Combination]]:
    config = app.config
    try:
        ranges = ranges_of(
            config.sweep or "",
            piece.header.inputs,
            is_random=config.trials is not None,
            held=app.arguments.inputs,
        )
        return ranges, combinations(ranges, trials=config.trials, seed=config.seed)
    except ValueError as error:
        raise ConfigError(f"--sweep: {error}") from None


def _windows(config: Config, piece: Piece) -> tuple[Window, ...]:
    if not config.walk_forward:
        return ()
    try:
        return windows_of(piece.market.first, piece.market.end, config.walk_forward)
    except ValueError as error:
        raise ConfigError(f"--walk-forward {config.walk_forward}: {error}") from None


def _taken(app: App, piece: Piece, hashed: str) -> tuple[tuple[str, str], ...]:
    """Return what all combinations have in common, in words."""
    market, taken = piece.market, assumptions_of(app.config)
    assumed = exact_percent(taken.funding_rate)
    rows = taken_rows(taken, funding=f"stored rates; where unknown {assumed} each 8 h")
    rows.append(("each part", "begins flat with the start balance; its history is never cut"))
    if app.arguments.inputs:
        held = ", ".join(f"{name}={value:g}" for name, value in app.arguments.inputs.items())
        rows.append(("--set", held))
    rows += [("note", note) for note in (market.contract.note, *market.notes)]
    if market.gaps:
        rows.append(("note", f"candles are missing at {market.gaps:,} places"))
    rows += [
        ("candles", f"{len(market.candles):,} from {market.source}"),
        ("candles sha256", hashed),
        ("script sha256", piece.header.text_sha256),
        ("Milo", __version__),
    ]
    return tuple(rows)


def _span(piece: Piece) -> tuple[int, int]:
    opens = piece.market.candles.open_ms
    return int(opens[piece.market.first]), int(opens[piece.market.end - 1])


def _cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _settings(config: Config) -> list[str]:
    """Return the settings that a job's result depends on, as flags."""
    arguments = []
    for name in _PASSED_ON:
        value = getattr(config, name)
        if config.origins.get(name, "default") != "default" and value is not None:
            # One word: a value may begin with a minus.
            arguments.append(f"--{flag_of(name)}={shown_value(name, value)}")
    return arguments


def _key(app: App, piece: Piece, candles: str, parts: Sequence[Range]) -> str:
    """Return a hash of all that the results depend on, the combinations left out."""
    named = {
        "version": __version__,
        "script": piece.header.text_sha256,
        "candles": candles,
        "symbol": piece.market.symbol,
        "interval": piece.market.interval,
        "parts": parts,
        "settings": _settings(app.config),
        "set": sorted(app.arguments.inputs.items()),
        "sweep": sorted(item.name for item in piece.header.inputs),
        "funding": [[rate.time_ms, str(rate.rate)] for rate in piece.market.funding],
    }
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


class _Kept:
    """The file in which every row is kept as soon as it is there: a line of JSON each."""

    def __init__(self, path: Path, ranges: Sequence[InputRange]) -> None:
        self.path = path
        self._names = [item.name for item in ranges]

    def read(self) -> list[Row]:
        """Return the rows of an earlier sweep of the same inputs; what is damaged is left out."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"cannot read {self.path}: {error.strerror}") from error
        rows = []
        for line in lines:
            # The last line of a process that was killed may be a part of one.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                item = json.loads(line)
                if item["names"] == self._names:
                    rows.append(row_of(item))
        return rows

    def add(self, row: Row) -> None:
        line = json.dumps({"names": self._names, **row_item(row)})
        try:
            make_private_folder(self.path.parent)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error


class _Lost(Exception):
    """A process ended with a job undone; the text is what it said last."""


class _Jobs:
    """Processes that do the jobs, each started again where it ends by itself."""

    def __init__(
        self, app: App, names: Sequence[str], parts: Sequence[Range], said: dict[str, str]
    ) -> None:
        self._app = app
        self._names = names
        self._parts = parts
        self._said = said

    async def done(self, wanted: Sequence[Combination]) -> AsyncGenerator[Row, None]:
        """Yield the rows as they come, in any order."""
        # In no order: what is done when it is stopped is then a fair sample of all.
        waiting = [*wanted]
        random.Random(self._app.config.seed).shuffle(waiting)  # noqa: S311 - nothing is secret
        rows: asyncio.Queue[Row] = asyncio.Queue()
        count = min(self._app.config.jobs or _cores(), len(wanted))
        async with asyncio.TaskGroup() as group:
            working = [group.create_task(self._work(waiting, rows)) for _ in range(count)]
            try:
                # Where a worker fails, the group ends the waiting and says how.
                for _ in wanted:
                    yield await rows.get()
            finally:
                for task in working:
                    task.cancel()

    async def _work(self, waiting: list[Combination], rows: asyncio.Queue[Row]) -> None:
        process: asyncio.subprocess.Process | None = None
        try:
            while waiting:
                inputs = waiting.pop()
                error = ""
                for _ in range(_TRIES):
                    try:
                        if process is None:
                            process = await self._start()
                        row = await self._ask(process, inputs)
                        break
                    except _Lost as lost:
                        error, process = str(lost), None
                else:
                    row = Row(inputs=inputs, error=f"its process ended: {error}")
                rows.put_nowait(row)
        finally:
            if process is not None:
                await asyncio.shield(_end(process))

    async def _start(self) -> asyncio.subprocess.Process:
        config = self._app.config
        inputs = [f"--set={name}={value!r}" for name, value in self._app.arguments.inputs.items()]
        trusted = ["--trust-script"] if config.trust_script else []
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_MAIN),
            "--sweep-job",
            "--script",
            str(self._app.arguments.scripts[0].resolve()),
            "--data-dir",
            str(config.data_dir.resolve()),
            *_settings(config),
            *inputs,
            *trusted,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            # Neither another folder's milo.toml nor the terminal's Ctrl-C is for it.
            cwd="/",
            env=child_environment(),
            start_new_session=True,
        )
        said = await _line_of(process)
        if said != self._said:
            await _end(process)
            raise ConfigError("script or candles were changed while the sweep ran: start it again")
        return process

    async def _ask(self, process: asyncio.subprocess.Process, inputs: Combination) -> Row:
        job = {"inputs": list(zip(self._names, inputs, strict=True)), "ranges": self._parts}
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(job).encode() + b"\n")
            await process.stdin.drain()
        except ConnectionError:
            pass  # what it said last is read below
        return row_of(await _line_of(process))


async def _line_of(process: asyncio.subprocess.Process) -> Any:
    """Return the next line that a process says, as data; _Lost where it has ended."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = await process.stdout.readline()
    if line:
        return json.loads(line)
    told = (await process.stderr.read()).decode("utf-8", "replace").strip().splitlines()
    code = await process.wait()
    raise _Lost(told[-1] if told else f"exit code {code}")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process, in the midst of a job too."""
    assert process.stdin is not None
    process.stdin.close()
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
