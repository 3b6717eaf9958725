"""Reads the file that a script comes from, as bytes that nobody has looked at (a room)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from milo.errors import ScriptError
from milo.script.limits import MAX_TEXT_BYTES
from milo.shown import MAX_NAME, shown_line, shown_path


def stem_of(path: Path) -> str:
    return shown_line(path.stem, MAX_NAME)


def read_script(path: Path) -> bytes:
    """Return the bytes of a script's file; ScriptError where it is none that can be loaded."""
    try:
        # A pipe in the file's place must not keep us waiting for somebody to write into it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise _unreadable(path, "not a regular file")
            raw = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    if len(raw) > MAX_TEXT_BYTES:
        raise _refused(
            path, f"larger than {MAX_TEXT_BYTES} bytes (64 KiB), the most that a script may have"
        )
    if not raw.strip():
        raise _refused(path, "the file is empty")
    return raw


def _unreadable(path: Path, reason: str) -> ScriptError:
    message = f"cannot be read: {reason}"
    return ScriptError(f"{shown_path(path)}: {message}", script=stem_of(path), message=message)


def _refused(path: Path, message: str) -> ScriptError:
    text = f"{shown_line(path.name, MAX_NAME)}: {message}"
    return ScriptError(text, script=stem_of(path), message=message)
