"""`--check FILE...`: each script's header, inputs and verdict, without running it.

A script is read and judged in a worker of its own; nothing here parses its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milo.cli.context import App
from milo.cli.json_output import check_json_path, give_json, says_json_only
from milo.errors import ScriptError
from milo.model import ScriptHeader, ScriptInput
from milo.shown import shown_path

SCHEMA = 1
"""Of `--json`; a change that a reader could stumble over raises it."""
REFUSED_CODE = ScriptError.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one file: a header where it is accepted, the first error where it is not."""

    path: Path
    header: ScriptHeader | None = None
    error: ScriptError | None = None


async def run(app: App) -> int:
    """Tell each file's verdict; exit code 2 if any is refused."""
    check_json_path(app)
    verdicts = [await _verdict(app, Path(value)) for value in app.arguments.values]
    if not says_json_only(app):
        for verdict in verdicts:
            for line in verdict_lines(verdict):
                app.console.say(line)
    give_json(app, verdicts_json(verdicts))
    return 0 if all(verdict.error is None for verdict in verdicts) else REFUSED_CODE


async def _verdict(app: App, path: Path) -> Verdict:
    try:
        return Verdict(path=path, header=await _header(app, path))
    except ScriptError as error:
        return Verdict(path=path, error=error)


async def _header(app: App, path: Path) -> ScriptHeader:
    return await app.make.check_script(path, is_trusted=app.config.trust_script)


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return a verdict as the console shows it."""
    name = shown_path(verdict.path)
    if verdict.error is not None:
        return [f"{name}: refused", str(verdict.error)]
    assert verdict.header is not None
    rows = [f"  {label:<11} {text}" for label, text in _rows(verdict.header)]
    return [f"{name}: accepted", *rows]


def verdicts_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the verdicts as `--json` writes them: one document, whatever the number of files."""
    return {
        "schema": SCHEMA,
        "is_good": all(verdict.error is None for verdict in verdicts),
        "scripts": [_verdict_json(verdict) for verdict in verdicts],
    }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    header, error = verdict.header, verdict.error
    return {
        "file": shown_path(verdict.path),
        "verdict": "refused" if header is None else "accepted",
        "sha256": None if header is None else header.text_sha256,
        "timeframe": None if header is None else header.timeframe,
        "coin": None if header is None else header.coin,
        "indicators": [] if header is None else list(header.indicators),
        "inputs": [] if header is None else [_input_json(item) for item in header.inputs],
        "warnings": [] if header is None else list(header.warnings),
        "isolation": None if header is None or header.isolation is None else header.isolation.line,
        "errors": [] if error is None else [_error_json(error)],
    }


def _input_json(item: ScriptInput) -> dict[str, Any]:
    return {"name": item.name, "default": item.default, "low": item.low, "high": item.high}


def _error_json(error: ScriptError) -> dict[str, Any]:
    return {"line": error.line, "column": error.column, "message": error.message}


def _rows(header: ScriptHeader) -> list[tuple[str, str]]:
    return [
        ("timeframe", header.timeframe or "not given: --interval decides"),
        ("coin", header.coin or "not given: --symbol decides"),
        ("indicators", ", ".join(header.indicators) or "none"),
        *(("input", _input_text(item)) for item in header.inputs),
        *(("warning", text) for text in header.warnings),
        *(("checked in", one.line) for one in (header.isolation,) if one is not None),
    ]


def _input_text(item: ScriptInput) -> str:
    text = f"{item.name} = {item.default:g}"
    if item.low is not None:
        text += f", from {item.low:g}"
    if item.high is not None:
        text += f", to {item.high:g}"
    return text
