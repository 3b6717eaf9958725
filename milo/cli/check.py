"""`--check FILE...`: a script's header, inputs and verdict, without running it."""

from __future__ import annotations

from milo.cli.context import App
from milo.cli.run_script import script_paths
from milo.errors import ConfigError, ScriptError
from milo.model import ScriptHeader, ScriptInput


async def run(app: App) -> int:
    """Print each script's verdict; exit code 2 if any is refused."""
    is_bad = False
    for path in script_paths(app.arguments.values):
        try:
            header = await app.make.check_script(path, is_trusted=app.config.trust_script)
        except (ScriptError, ConfigError) as error:
            app.console.say(f"{path}: refused\n{error}")
            is_bad = True
        else:
            app.console.say(f"{path}: accepted")
            for label, text in _rows(header):
                app.console.say(f"  {label:<11} {text}")
    return 2 if is_bad else 0


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
