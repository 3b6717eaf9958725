"""`--show-config`: every setting, its value and where that came from."""

from __future__ import annotations

from milo.cli.context import App
from milo.config import PASSWORD_ENV, SETTINGS, shown_value


async def run(app: App) -> int:
    """Print a line a setting; secrets are masked."""
    config = app.config
    width = max(len(setting.name) for setting in SETTINGS)
    for setting in SETTINGS:
        value = shown_value(setting.name, getattr(config, setting.name))
        app.console.say(f"{setting.name:<{width}}  {value:<24}  {config.origins[setting.name]}")
    password = "-" if config.key_password is None else "********"
    origin = "default" if config.key_password is None else f"environment {PASSWORD_ENV}"
    app.console.say(f"{'key_password':<{width}}  {password:<24}  {origin}")
    return 0
