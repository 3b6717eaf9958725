"""One engine, and one guard, a venue: locks that the system lets go of when their holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from milo.errors import ConfigError

LOCK_FILE = "engine.lock"
GUARD_LOCK = "guard.lock"
_HOLDERS = {LOCK_FILE: "another Milo trades on", GUARD_LOCK: "another guard watches"}


class FolderLock:
    """A context manager that holds the folder's lock; ConfigError names the present holder."""

    def __init__(self, folder: Path, name: str = LOCK_FILE) -> None:
        self._path = folder / name
        self._file: int | None = None

    def __enter__(self) -> FolderLock:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot use {self._path}: {error.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(file, 32).decode("ascii", "replace").strip()
            os.close(file)
            raise ConfigError(
                f"{_HOLDERS[self._path.name]} {self._path.parent} (process {holder}); end it first"
            ) from None
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def holder_of(folder: Path, name: str) -> int | None:
    """Return the process that holds the lock; None where nobody does."""
    try:
        file = os.open(folder / name, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        text = os.read(file, 32).decode("ascii", "replace").strip()
        return int(text) if text.isdecimal() else None
    else:
        return None
    finally:
        os.close(file)
