"""Starts the workers of a backtest's scripts before anything else of it is loaded.

A worker takes about as long to stand as the modules of the command take to load: both go on at the
same time. Which candles a script wants only its worker can tell, so that a worker may have memory
for the longest series that is stored; one that turns out to be too small is replaced.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from milo.cli import Parsed, script_paths
from milo.config import Config
from milo.script.limits import ScriptLimits
from milo.script.worker.spawn import Spawned, spawn
from milo.store.places import HISTORY, most_candles


def first_workers(parsed: Parsed, config: Config) -> list[Spawned]:
    """Return workers that are starting, one a script and no more than there are processors.

    None for commands that may not need them. Whoever takes one over takes it out of the list; the
    rest is to be discarded.
    """
    if parsed.spec.flag not in ("backtest", "sweep-job"):
        return []
    memory_mb = ScriptLimits().memory_for(max(map(most_candles, _databases(config)), default=0))
    workers: list[Spawned] = []
    # Who needs one later tries again, and says why there is none.
    with contextlib.suppress(OSError):
        for _ in script_paths(parsed.values)[: os.cpu_count()]:
            workers.append(spawn(memory_mb))
    return workers


def _databases(config: Config) -> list[Path]:
    """Return where the candles may lie; `milo.cli.backtest_data.database_of` says it exactly."""
    if config.origins.get("exchange", "default") == "default":
        return [config.data_dir / HISTORY]
    return list(config.data_dir.glob("*/market.db"))
