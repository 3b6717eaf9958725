"""What is left out of the page's files when they are served: comments and white space, no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chart_handler import STATIC_FOLDER
from milo.web.static_files import minified, minified_style

SCRIPTS = sorted(path for path in STATIC_FOLDER.rglob("*.js") if "report" not in path.parts)
STYLES = sorted(STATIC_FOLDER.rglob("*.css"))
TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<space>\s+)
    |(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)
    |(?P<word>[\w$]+)
    |(?P<mark>.)""",
    re.DOTALL | re.VERBOSE,
)
REGEX = re.compile(r"/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/\w*")
BEFORE_REGEX = {*"(,=:[!&|?{};+-*%<>~^", "return", "typeof", "case", ""}


def tokens(text: str) -> list[str]:
    """Return what JavaScript reads: no comments, no white space, strings and patterns whole."""
    found: list[str] = []
    place = 0
    while place < len(text):
        pattern = REGEX.match(text, place) if (found or [""])[-1] in BEFORE_REGEX else None
        match = pattern or TOKEN.match(text, place)
        assert match is not None
        if pattern is not None or match.lastgroup not in ("comment", "space"):
            found.append(match[0])
        place = match.end()
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_lose_comments_and_white_space_alone(path: Path) -> None:
    text = path.read_text()

    served = minified(text)

    assert tokens(served) == tokens(text)
    assert len(served) < len(text)
    assert "* @param" not in served


def test_what_looks_like_a_comment_inside_a_text_stays() -> None:
    text = """
        // Gone.
        const address = "http://localhost"; /* gone */
        const both = `// stays
          /* ${address} stays */`;
        const pattern = /[/*]+\\/\\/ stays/g;
        const half = address.length / 2; // gone / too
    """

    served = minified(text)

    assert served.count("stays") == 3
    assert "gone" not in served.lower()
    assert "`// stays\n          /* ${address} stays */`" in served


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_styles_lose_comments_and_indents_alone(path: Path) -> None:
    text = path.read_text()

    served = minified_style(text)

    assert "/*" not in served
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert served.split() == bare.split()


def test_comment_signs_in_the_strings_of_a_style_stay() -> None:
    assert minified_style('a::after {\n  content: "/* ▲ */"; /* gone */\n}\n') == (
        'a::after {\ncontent: "/* ▲ */";\n}\n'
    )
