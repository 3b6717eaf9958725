"""`--json FILE` of the commands that answer a question; `-` is the standard output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milo.cli.context import App
from milo.errors import ConfigError

STDOUT = Path("-")


def check_json_path(app: App) -> None:
    """Refuse a file that cannot be written before anything is asked. Raises ConfigError."""
    path = app.config.json
    if path is not None and path != STDOUT and not path.parent.is_dir():
        raise ConfigError(f"--json {path}: no such folder")


def says_json_only(app: App) -> bool:
    """Whether the JSON goes to the standard output, where nothing else may stand then."""
    return app.config.json == STDOUT


def give_json(app: App, content: dict[str, Any]) -> None:
    """Write the content where --json says, if it says so; StoreError where it cannot."""
    # Here, since most runs write none.
    from milo.cli.summary import json_text, write_summary

    if says_json_only(app):
        app.console.say(json_text(content))
    elif app.config.json is not None:
        write_summary(app.config.json, content)
