"""Milo's entry: arguments -> Config -> App -> one command. The only module that knows all others.

Exit codes: 0 done, 1 failure, 2 wrong use, 130 after Ctrl-C. Heavy modules are imported only by
the command that needs them.
"""

from __future__ import annotations

import functools
import gc
import getpass
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milo.cli import Parsed, inputs_of, parse_command_line, script_paths, time_of
from milo.cli.first_workers import first_workers
from milo.config import Config, load_config, unknown_environment, use_one_thread
from milo.errors import ConfigError, EngineError, ScriptError
from milo.ops.hardening import harden
from milo.ops.logs import set_up_logging
from milo.secret import Secret, wipe
from milo.shown import shown_line, shown_text

if TYPE_CHECKING:
    from milo.cli.context import App, Makers
    from milo.script.worker.spawn import Spawned

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
_STDIN = 0
_LONGEST_LINE = 4096


class Terminal:
    """The console of a command: results on stdout, everything else on stderr.

    What it prints may hold names and texts of strangers: no more than newlines gets through.
    """

    def say(self, text: str) -> None:
        print(shown_text(text), flush=True)

    def warn(self, text: str) -> None:
        print(shown_text(text), file=sys.stderr, flush=True)

    def ask(self, prompt: str) -> str:
        self._prompt(prompt)
        return _typed_line().decode("utf-8", "replace")

    def ask_secret(self, prompt: str) -> Secret:
        if sys.stdin.isatty():
            return Secret(getpass.getpass(shown_text(prompt)))
        self._prompt(prompt)
        return Secret.taking(_typed_line())

    def _prompt(self, prompt: str) -> None:
        print(shown_text(prompt), end="", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Errors are one line, with -v a traceback too."""
    # Before a password or a key is anywhere in this process.
    problem = harden()
    if problem:
        print(f"milo: this process is not closed to others: {problem}", file=sys.stderr)
    arguments = sys.argv[1:] if argv is None else list(argv)
    is_verbose = "-v" in arguments or "--verbose" in arguments
    _show_any_character()
    # What a trading engine writes is its owner's: journal, logs, the addresses of its helpers.
    os.umask(0o077)
    try:
        parsed = parse_command_line(arguments)
        config = load_config(parsed.flags, file=parsed.config_file)
        is_verbose = config.verbose
        set_up_logging(is_verbose=is_verbose)
        for name in unknown_environment():
            print(shown_line(f"milo: ignored environment variable {name}"), file=sys.stderr)
        use_one_thread()
        return _run(parsed, config)
    except EngineError as error:
        return _fail(error, is_verbose)
    except ExceptionGroup as group:
        return _fail_group(group, is_verbose)
    except KeyboardInterrupt:
        print("stopped; protective orders stay at the exchange", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): nothing is left to say to it.
        sys.stderr.close()
        return 1


def _run(parsed: Parsed, config: Config) -> int:
    early = first_workers(parsed, config)
    # What is loaded lives as long as the process: nothing to look for in it, now or later.
    gc.disable()
    try:
        # Here, so that what takes long to load is loaded while a worker starts.
        import asyncio

        module = importlib.import_module(f"milo.cli.{parsed.spec.module}")
        app = _app(parsed, config, early)
        gc.freeze()
        gc.enable()
        with asyncio.Runner() as runner:
            try:
                return int(runner.run(_with_sigterm(module.run(app))))
            except asyncio.CancelledError:
                return EXIT_TERMINATED
    finally:
        gc.enable()
        for worker in early:
            worker.discard()


async def _with_sigterm(command: Any) -> Any:
    """Let SIGTERM end the command in the same orderly way as Ctrl-C."""
    import asyncio

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await command


def _app(parsed: Parsed, config: Config, early: list[Spawned]) -> App:
    from milo.cli.context import App, Arguments

    is_script = parsed.spec.flag in ("script", "backtest", "sweep-job")
    return App(
        config=config,
        arguments=Arguments(
            command=parsed.spec.flag,
            values=parsed.values,
            scripts=script_paths(parsed.values) if is_script else (),
            loop=parsed.loop,
            inputs=inputs_of(parsed.inputs),
            why_ms=time_of(parsed.why),
            is_confirmed=parsed.is_confirmed,
        ),
        console=Terminal(),
        make=_makers(early),
    )


def _makers(early: list[Spawned]) -> Makers:
    from milo.cli.context import Makers

    # One reserve of workers for all scripts.
    spares = functools.cache(lambda: _root("milo.script.worker.spares").Spares(early=early))
    return Makers(
        client=lambda **given: _root("api_client").ApiClient(**given),
        store=lambda folder, **given: _root("db_manager").DBManager(folder, **given),
        streams=lambda **given: _root("websocket_manager").WebSocketManager(**given),
        manager=lambda **given: _root("trade_manager").TradeManager(**given),
        engine=lambda **given: _root("script_engine").ScriptEngine(**given),
        executor=functools.partial(_make_executor, spares),
        check_script=lambda path, **given: _root("script_executor").check_script(path, **given),
        chart=lambda source, **given: _root("chart_handler").ChartHandler(source, **given),
        keys=lambda path: _root("key_manager").KeyManager(path),
        indicators=lambda: _root("indicators").Indicators(),
    )


def _make_executor(
    spares: Callable[[], Any], path: Path, inputs: Mapping[str, float], *, is_trusted: bool
) -> Any:
    return _root("script_executor").ScriptExecutor(
        path, inputs=inputs, spares=spares(), is_trusted=is_trusted
    )


def _root(name: str) -> Any:
    return importlib.import_module(name)


def _typed_line() -> bytearray:
    """Return a line of the standard input, without its end; ConfigError where nobody types.

    Read past Python's own buffers, which would keep a copy of a password for as long as we run.
    """
    line = bytearray(_LONGEST_LINE)
    for length in range(_LONGEST_LINE):
        byte = os.read(_STDIN, 1)
        if byte == b"\n":
            return _cut(line, length)
        if not byte:
            if length:
                return _cut(line, length)
            raise ConfigError("an answer is needed and nobody can give one (no input)")
        line[length : length + 1] = byte
    raise ConfigError(f"an answer has {_LONGEST_LINE} characters at the most")


def _cut(line: bytearray, length: int) -> bytearray:
    typed = line[:length]
    wipe(line)
    return typed


def _show_any_character() -> None:
    """Let no character that this terminal lacks end a run: it is written as its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(error: EngineError, is_verbose: bool) -> int:
    if is_verbose:
        logging.getLogger("milo").error("command_failed", exc_info=error)
    # Only a script's error has several lines: it shows the script's own one.
    show = shown_text if isinstance(error, ScriptError) else shown_line
    print(f"error: {show(str(error))}", file=sys.stderr, flush=True)
    return error.exit_code


def _fail_group(group: ExceptionGroup[Exception], is_verbose: bool) -> int:
    """Report the first error of ours in a group of tasks; anything else is a bug and is raised."""
    ours, others = group.split(EngineError)
    if others is not None:
        raise others
    assert ours is not None
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, EngineError)
    return _fail(first, is_verbose)


if __name__ == "__main__":
    exit_code = main()
    # The interpreter would look for cycles in all that is left, of a million candles too.
    gc.freeze()
    sys.exit(exit_code)
