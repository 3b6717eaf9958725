"""`--check FILE...`: a script's header, inputs and verdict, without running it."""

from __future__ import annotations

from milo.cli.context import App
from milo.cli.run_script import script_paths
from milo.errors import ScriptError


async def run(app: App) -> int:
    """Print each script's verdict; exit code 2 if any is refused."""
    is_bad = False
    for path in script_paths(app.arguments.values):
        try:
            header = await app.make.check_script(path)
        except ScriptError as error:
            app.console.say(f"{path}: refused")
            app.console.warn(str(error))
            is_bad = True
            continue
        app.console.say(f"{path}: accepted")
        app.console.say(f"  timeframe  {header.timeframe or '(from --interval)'}")
        app.console.say(f"  coin       {header.coin or '(from --symbol)'}")
        app.console.say(f"  indicators {', '.join(header.indicators) or '-'}")
        for item in header.inputs:
            low = "" if item.low is None else f" from {item.low:g}"
            high = "" if item.high is None else f" to {item.high:g}"
            app.console.say(f"  input      {item.name} = {item.default:g}{low}{high}")
        for text in header.warnings:
            app.console.say(f"  warning    {text}")
    return 2 if is_bad else 0
