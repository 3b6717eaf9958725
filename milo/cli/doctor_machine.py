"""The doctor's checks of this computer: disk, journal, limits, kill file, key file."""

from __future__ import annotations

import resource
import shutil
import stat
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from milo.cli.findings import Finding, fail, ok, skip, warn
from milo.clock import monotonic_s
from milo.errors import EngineError
from milo.store.files import write_atomically
from milo.store.maintenance import damage_of_file

KILL_FILE = "KILL"
"""While a file of this name lies in the data directory, nothing is opened."""
LEAST_FREE_MB = 200
LOW_FREE_MB = 2_000
SLOW_WRITE_MS = 50.0
_WRITES = 5
LEAST_FILES = 256
_OTHERS_READ_OR_WRITE = 0o077
_OTHERS_WRITE = 0o022
_PROBE_BYTES = b"x" * 4096


def check_machine(data_dir: Path, folder: Path, keys: Path) -> list[Finding]:
    """Return what this computer says; `folder` is the venue's own. Blocks for the disk."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("disk space", partial(_space, data_dir)),
        ("disk write", partial(_write, data_dir)),
        ("journal", partial(_journal, folder / "journal.db")),
        ("open files", _open_files),
        ("kill file", partial(_kill_file, data_dir)),
        ("key file", partial(_key_file, keys)),
    ]
    return [_told(name, check) for name, check in checks]


def _told(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (EngineError, OSError) as error:
        return fail(name, str(error), "check the data directory and its disk")


def _space(data_dir: Path) -> Finding:
    free_mb = shutil.disk_usage(_nearest_folder(data_dir)).free // 1_000_000
    seen = f"{free_mb:,} MB free for {data_dir}"
    if free_mb < LEAST_FREE_MB:
        return fail("disk space", seen, "make room: a journal that cannot be written stops trading")
    if free_mb < LOW_FREE_MB:
        return warn("disk space", seen, "make room soon")
    return ok("disk space", seen)


def _write(data_dir: Path) -> Finding:
    # Where there is no data directory yet, its disk can be told all the same.
    with tempfile.TemporaryDirectory(dir=_nearest_folder(data_dir), prefix=".doctor-") as folder:
        slowest_ms = max(_write_ms(Path(folder) / "probe") for _ in range(_WRITES))
    seen = f"slowest of {_WRITES} writes with fsync {slowest_ms:.1f} ms"
    if slowest_ms > SLOW_WRITE_MS:
        return warn("disk write", seen, "orders wait for the journal: use a faster or local disk")
    return ok("disk write", seen)


def _write_ms(path: Path) -> float:
    before_s = monotonic_s()
    write_atomically(path, _PROBE_BYTES)
    return (monotonic_s() - before_s) * 1000


def _nearest_folder(path: Path) -> Path:
    found = path.resolve()
    while not found.is_dir():
        found = found.parent
    return found


def _journal(path: Path) -> Finding:
    if not path.exists():
        return skip("journal", f"none yet at {path}")
    damage = damage_of_file(path)
    if damage is not None:
        return fail("journal", f"{path}: {damage}", "move it away or restore a copy")
    return ok("journal", f"{path} is sound")


def _open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < LEAST_FILES:
        return warn("open files", f"limit {soft}", f"raise it: ulimit -n {LEAST_FILES * 4}")
    return ok("open files", f"limit {soft if soft >= 0 else 'none'}")


def _kill_file(data_dir: Path) -> Finding:
    path = data_dir / KILL_FILE
    if path.exists():
        return warn("kill file", f"{path} is there: nothing is opened", "remove it to trade again")
    return ok("kill file", "none")


def _key_file(path: Path) -> Finding:
    try:
        file, folder = path.stat(), path.parent.stat()
    except FileNotFoundError:
        return skip("key file", f"none at {path}")
    if file.st_mode & _OTHERS_READ_OR_WRITE:
        return warn("key file", f"other users may open {path}", f"chmod 600 {path}")
    if folder.st_mode & _OTHERS_WRITE and not folder.st_mode & stat.S_ISVTX:
        return warn(
            "key file",
            f"other users may replace files in {path.parent}",
            f"chmod 700 {path.parent}",
        )
    return ok("key file", f"{path} is its owner's own")
