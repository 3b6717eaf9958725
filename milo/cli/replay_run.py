"""`--replay RUN`: feed a recorded run through the core again and compare the commands."""

from __future__ import annotations

from pathlib import Path

from milo.cli.context import App, Store
from milo.cli.recovery import replayed
from milo.cli.venue import venue_folder
from milo.clock import iso_minute
from milo.errors import ConfigError
from milo.orders.replay import Difference
from milo.store import journal

NEWEST = "last"
_SHOWN = 5


async def run(app: App) -> int:
    """Print how the commands compare with the record; exit code 1 where they differ."""
    folder = venue_folder(app.config)
    if not (folder / "journal.db").is_file():
        raise ConfigError(f"{folder} has no journal: nothing was run there")
    async with app.make.store(folder) as store:
        wanted = await wanted_run(store, folder, app.arguments.values[0])
        found = await replayed(store, wanted)
    say = app.console.say
    say(
        f"run {wanted}: {found.events:,} events, {found.commands:,} commands, "
        f"{len(found.rows):,} closed trades"
    )
    if not found.differing:
        say("the core gives the same commands, byte for byte")
        return 0
    say(f"{found.differing:,} events are answered with other commands than those on record:")
    for difference in found.differences[:_SHOWN]:
        _show(app, difference)
    return 1


async def wanted_run(store: Store, folder: Path, wanted: str) -> str:
    """Return the id of the run that is meant, `last` being the newest; ConfigError for none."""
    runs = await store.read_journal(journal.list_runs)
    ids = [run.run_id for run in runs]
    if wanted == NEWEST and ids:
        return ids[-1]
    if wanted not in ids:
        shown = ", ".join(f"{r.run_id} ({iso_minute(r.started_ms)})" for r in runs[-10:])
        raise ConfigError(f"{folder} has no run {wanted!r}; newest: {shown or 'none'}")
    return wanted


def _show(app: App, difference: Difference) -> None:
    app.console.say(f"  entry {difference.seq}, {difference.event_kind}")
    for line in difference.recorded:
        app.console.say(f"    on record  {line}")
    for line in difference.given:
        app.console.say(f"    now        {line}")
