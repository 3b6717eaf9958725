"""`--check FILE...`: a script's header, inputs and verdict, without running it."""

from __future__ import annotations

from milo.cli.context import App
from milo.cli.run_script import script_paths


async def run(app: App) -> int:
    """Print each script's verdict; exit code 2 if any is refused."""
    is_bad = False
    for path in script_paths(app.arguments.values):
        verdict = await app.make.check_script(path)
        app.console.say(verdict.text)
        is_bad = is_bad or verdict.error is not None
    return 2 if is_bad else 0
