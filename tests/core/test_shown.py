"""Text of strangers on a screen and in a log: it shows itself and steers nothing."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milo.ops.logs import LineFormatter
from milo.shown import shown_line, shown_path, shown_text

STEERING = [
    pytest.param("\x1b[2J\x1b[31m", id="escape sequences"),
    pytest.param("\x9b31m", id="escape sequence of one byte"),
    pytest.param("\x1b]0;title\x07", id="window title"),
    pytest.param("\r", id="carriage return"),
    pytest.param("\x08\x08", id="backspace"),
    pytest.param("\x00", id="zero"),
    pytest.param("\x7f", id="delete"),
    pytest.param("\x85", id="next line"),
    pytest.param("\u2028\u2029", id="separators"),
    pytest.param("\u202e\u2066\u200f", id="direction of reading"),
    pytest.param("\ufeff\u200b", id="no width"),
    pytest.param("\udcff", id="no text"),
    pytest.param("\U000e0041", id="tag"),
]


@pytest.mark.parametrize("text", STEERING)
def test_what_steers_a_display_is_shown_as_question_marks(text: str) -> None:
    shown = shown_text(f"a{text}b")

    assert shown.startswith("a?")
    assert shown.endswith("b")
    assert shown.isprintable()


@pytest.mark.parametrize(
    "text", ["비밀 전략 é 你好 👩\u200d🔧", "plain", "", "0xdeadbeef <img src=x>"]
)
def test_what_shows_itself_stays(text: str) -> None:
    assert shown_text(text) == text
    assert shown_line(text) == text


def test_newlines_stay_in_texts_and_never_in_lines() -> None:
    assert shown_text("one\ntwo\tthree") == "one\ntwo    three"
    assert shown_line("one\ntwo") == "one?two"
    assert shown_path(Path("dir\n/a\x1b.script")) == "dir?/a?.script"
    assert shown_line("x" * 50, 10) == "x" * 9 + "…"


@given(st.text())
def test_a_line_is_one_line_on_every_system(text: str) -> None:
    line = shown_line(text)

    assert len(line.splitlines()) <= 1
    steering = ("Cc", "Cf", "Cs", "Zl", "Zp")
    assert not [c for c in line if c != "\u200d" and unicodedata.category(c) in steering]
    assert shown_line(line) == line


def logged(message: str, *given: object, error: Exception | None = None) -> list[str]:
    """Return the lines that an event makes in the log."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.warning(message, *given, exc_info=error)
    return stream.getvalue().split("\n")[:-1]


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    forged = "x\n2026-01-01 00:00:00,000 INFO milo order_placed symbol=BTCUSDT\x1b[2K\u2028"

    lines = logged("order_refused error=%s", forged)

    assert len(lines) == 1
    assert lines[0].isprintable()
    assert "WARNING test order_refused error=x?2026-01-01" in lines[0]


def test_no_line_of_a_traceback_can_pass_for_an_event() -> None:
    try:
        raise ValueError("bad\n2026-01-01 00:00:00,000 INFO milo all_is_well\r\x1b[1A")
    except ValueError as error:
        lines = logged("command_failed", error=error)

    assert "command_failed" in lines[0]
    assert all(line.startswith("  | ") for line in lines[1:])
    assert "  | 2026-01-01 00:00:00,000 INFO milo all_is_well??[1A" in lines


def test_a_signature_in_an_exception_of_a_library_is_left_out() -> None:
    url = "https://venue/fapi/v1/order?symbol=X&timestamp=5&signature=0123abcd&listenKey=secret9"
    try:
        raise OSError(f"cannot connect to {url!r}")
    except OSError as error:
        text = "\n".join(logged("failed url=%s", url, error=error))

    assert "0123abcd" not in text
    assert "secret9" not in text
    assert "symbol=X" in text
    assert "signature=(hidden)" in text


def test_a_bug_is_logged_like_any_event() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from milo.ops.logs import set_up_logging\n"
        "set_up_logging(is_verbose=False)\n"
        "import threading\n"
        "def fail():\n"
        "    raise RuntimeError('a\\nERROR forged \\x1b[31m')\n"
        "thread = threading.Thread(target=fail, name='ws-1')\n"
        "thread.start(); thread.join()\n"
        "fail()\n"
    )
    project = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, project], capture_output=True, text=True, timeout=60
    )

    lines = done.stderr.splitlines()
    assert done.returncode == 1
    events = [line for line in lines if not line.startswith("  | ")]
    assert len(events) == 2
    assert events[0].endswith("CRITICAL milo unexpected_error thread=ws-1")
    assert events[1].endswith("CRITICAL milo unexpected_error")
    assert lines.count("  | ERROR forged ?[31m") == 2
    assert "\x1b" not in done.stderr
