"""`--set-keys VENUE`: ask for a venue's keys and store them encrypted."""

from __future__ import annotations

import asyncio

from milo.cli.context import App
from milo.cli.venue import keys_path, venue_name
from milo.errors import ConfigError

MIN_PASSWORD = 8


async def run(app: App) -> int:
    """Ask for API key, secret and password; write the key file."""
    venue = venue_name(app.arguments.values[0])
    path = keys_path(app.config)
    keys = app.make.keys(path)
    console = app.console
    password = app.config.key_password
    if keys.exists():
        told = await asyncio.to_thread(keys.migrate_plaintext, password)
        if told is not None:
            console.warn(told)
    is_new = not keys.exists()
    api_key = console.ask(f"API key for {venue}: ").strip()
    api_secret = console.ask_secret("API secret: ")
    if not api_key or api_secret.is_empty:
        raise ConfigError("API key and secret must not be empty; nothing was stored")
    if password is None:
        password = console.ask_secret(f"Password of {path}: ")
        if is_new and console.ask_secret("Password again: ") != password:
            raise ConfigError("the passwords differ; nothing was stored")
    if is_new and len(password.text()) < MIN_PASSWORD:
        raise ConfigError(f"the password needs {MIN_PASSWORD} characters or more")
    await asyncio.to_thread(keys.set_keys, venue, api_key, api_secret.text(), password)
    api_secret.forget()
    password.forget()
    console.say(f"keys for {venue} stored, encrypted, in {path}")
    return 0
