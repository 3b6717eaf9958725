"""Text from strangers: what a script file may hold, and what its output may show (layer 1)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from milo.script.faults import ScriptFault
from milo.script.limits import MAX_BRACKET_DEPTH, MAX_TEXT_BYTES

_ZERO_WIDTH_JOINER: Final = "\u200d"
_VARIATION: Final = frozenset(
    {chr(code) for first, last in ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF), (0x180B, 0x180F))
     for code in range(first, last + 1)} - {"\u180e"}
)  # fmt: skip
"""Choose between forms of the letter before them, like the coloured emoji; unseen by themselves."""
_FILLERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
"""Letters and marks without any look, by Unicode's own list (Default_Ignorable_Code_Point)."""
_ADDRESS: Final = re.compile(r"(?<=\bat )0x[0-9a-fA-F]+")
"""How Python shows where an object lies; other hexadecimal numbers are the script's own."""
_MOST_MARKS: Final = 8
"""More accents upon one letter than any language uses; a pile of them covers the lines above."""
# Quick test for text that needs no character-by-character look: printable ASCII and newlines.
_PLAIN: Final = re.compile(r"[\n -~]*")


def source_text(raw: bytes) -> str:
    """Return a script file's text: UTF-8, newlines as \\n, without a byte order mark.

    Raises ScriptFault for a file that is too large, not UTF-8, or holds characters that cannot be
    seen (control and format characters, with which a text can look like another), or brackets
    nested too deeply.
    """
    if len(raw) > MAX_TEXT_BYTES:
        raise ScriptFault(
            f"the file has {len(raw)} bytes; a script may have {MAX_TEXT_BYTES} (64 KiB)"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = raw[: error.start].decode("utf-8", "replace")
        line = good.count("\n") + 1
        column = len(good) - (good.rfind("\n") + 1) + 1
        raise ScriptFault(
            "the file is not UTF-8 text here; save it as UTF-8", line=line, column=column
        ) from error
    text = text.replace("\r\n", "\n")
    _check_characters(text)
    _check_brackets(text)
    return text


def clean(text: str) -> str:
    """Return text that cannot forge lines, terminal escapes or reading direction.

    Newlines stay; tabs become spaces; other control, format and separator characters become `?`,
    and so do accents piled up on one letter; memory addresses become `0x?`.
    """
    if _PLAIN.fullmatch(text) is None:
        text = "".join(_shown(text))
    return _ADDRESS.sub("0x?", text) if "0x" in text else text


def clean_line(text: str, limit: int) -> str:
    """Return `clean` text as one line of at most `limit` characters."""
    line = clean(text[: limit + 1]).replace("\n", " ").strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shown_source(line: str) -> str:
    """Return a line of source that is safe to show, character for character in its place."""
    return "".join(
        "?"
        if is_invisible(character) and character not in ("\t", _ZERO_WIDTH_JOINER)
        else character
        for character in line
    )


def is_word(text: str) -> bool:
    """Say whether a text is letters and digits of any script, and nothing else."""
    return bool(text) and all(
        unicodedata.category(letter)[0] in "LMN" and not is_unseen_in_name(letter)
        for letter in text
    )


def fit_bytes(text: str, limit: int) -> str:
    """Return as much of the text's beginning as `limit` bytes of UTF-8 hold."""
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= limit else raw[:limit].decode("utf-8", "ignore")


def _shown(text: str) -> Iterator[str]:
    piled = 0
    for character in text:
        is_mark = (
            character == _ZERO_WIDTH_JOINER or unicodedata.category(character) in _MARK_CATEGORIES
        )
        piled = piled + 1 if is_mark else 0
        if piled > _MOST_MARKS:
            if piled == _MOST_MARKS + 1:
                yield "?"
        elif character == "\n" or (is_mark and character not in _FILLERS):
            yield character
        elif character == "\t":
            yield "    "
        else:
            yield "?" if is_invisible(character) else character


_MARK_CATEGORIES: Final = ("Mn", "Me")


def is_invisible(character: str) -> bool:
    """Say whether a character steers the display, or shows nothing at all in its place."""
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") or character in _FILLERS


def is_unseen_in_name(character: str) -> bool:
    """Say whether two names that differ in this character alone look the same."""
    return is_invisible(character) or character in _VARIATION


def _check_characters(text: str) -> None:
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return
    line = 1
    line_start = 0
    for index, character in enumerate(text):
        if character == "\n":
            line, line_start = line + 1, index + 1
        elif character not in ("\t", _ZERO_WIDTH_JOINER) and is_invisible(character):
            name = unicodedata.name(character, "control character")
            raise ScriptFault(
                f"invisible character U+{ord(character):04X} ({name.lower()}); delete it",
                line=line,
                column=index - line_start + 1,
            )


_TOKEN: Final = re.compile(
    r"""(?P<comment>\#[^\n]*)
      | (?P<prefix>[A-Za-z]{0,2})(?P<quote>\"\"\"|'''|\"|')
      | (?P<word>\w+)
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<newline>\n)
      | (?P<other>.)""",
    re.VERBOSE,
)


def _check_brackets(text: str) -> None:
    """Bound the nesting before Python's parser meets it; strings and comments do not count."""
    depth = 0
    line = 1
    line_start = 0
    position = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        kind = match.lastgroup
        if kind == "newline":
            line, line_start = line + 1, position
        elif kind == "open":
            depth += 1
            if depth > MAX_BRACKET_DEPTH:
                raise ScriptFault(
                    f"brackets are nested more than {MAX_BRACKET_DEPTH} deep",
                    line=line,
                    column=match.start() - line_start + 1,
                )
        elif kind == "close":
            depth = max(0, depth - 1)
        elif kind == "quote":
            end = _string_end(text, position, match["quote"])
            skipped = text[position:end]
            if "\n" in skipped:
                line += skipped.count("\n")
                line_start = position + skipped.rfind("\n") + 1
            position = end


def _string_end(text: str, start: int, quote: str) -> int:
    """Where a string literal ends; an unfinished one ends where Python will say so."""
    index = start
    while index < len(text):
        if text[index] == "\\":
            index += 2
        elif text.startswith(quote, index):
            return index + len(quote)
        elif text[index] == "\n" and len(quote) == 1:
            return index
        else:
            index += 1
    return len(text)
