"""Text from strangers on its way to a terminal, a log or a file of ours (layer 1).

Script and file names, answers of venues and names of symbols are shown, but none of them may end a
line, move the cursor, change colours or turn the direction of reading.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Final

from milo.script.text import is_invisible

MAX_NAME: Final = 120
_PLAIN: Final = re.compile(r"[\n -~]*")
_JOINER: Final = "\u200d"
"""Holds the parts of one emoji or of an Indian letter together."""


def shown_text(text: str) -> str:
    """Return text whose only control characters are its newlines; tabs become spaces.

    Everything else that steers a display becomes `?`, and so do bytes that are no text.
    """
    if _PLAIN.fullmatch(text) is not None:
        return text
    return "".join(_shown(character) for character in text)


def shown_line(text: str, limit: int | None = None) -> str:
    """Return `shown_text` as one line, cut to `limit` characters."""
    line = shown_text(text if limit is None else text[: limit + 1]).replace("\n", "?")
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def shown_path(path: PurePath) -> str:
    """Return a path whose names strangers may have chosen, whole and on one line."""
    return shown_line(str(path))


def _shown(character: str) -> str:
    if character in ("\n", _JOINER):
        return character
    if character == "\t":
        return "    "
    return "?" if is_invisible(character) else character
