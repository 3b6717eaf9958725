"""The state folder: one exchange at a time, and the file that tells where it can be reached."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from milo.errors import StoreError

LOCK_FILE = "exchange.lock"
ADDRESS_FILE = "exchange.json"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; StoreError where another exchange has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{folder} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(f"another embedded exchange runs on {folder}") from error
        yield
    finally:
        os.close(handle)


def write_address(folder: Path, address: Mapping[str, object]) -> None:
    """Write the address file in one step, readable by its owner only. Raises StoreError."""
    partial = folder / f"{ADDRESS_FILE}.part"
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(address, file, indent=1)
            file.write("\n")
        partial.replace(folder / ADDRESS_FILE)
    except OSError as error:
        raise StoreError(f"cannot write {folder / ADDRESS_FILE}: {error.strerror}") from error


def remove_address(folder: Path) -> None:
    """Remove the address file, once nobody can be reached there any more."""
    (folder / ADDRESS_FILE).unlink(missing_ok=True)
