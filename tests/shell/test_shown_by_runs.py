"""What a run shows of a stranger's script: its name and its text can forge nothing."""

from __future__ import annotations

import json
import subprocess
import unicodedata
import urllib.request
from pathlib import Path

import pytest

from .commands import command_line, environment, milo

HOSTILE_NAME = "a\n2026-01-01 00:00 BTCUSDT long 5 @ 1\x1b[31m <img src=x onerror=1>.script"
HEADER = 'coin = "BTCUSDT"\ntimeframe = "1h"\ncondition_true = False\n'
# Each line is one way of looking like something that it is not.
PRINTS = (
    HEADER
    + r"""
print("one\n2026-01-01 00:00 BTCUSDT long 5 @ 1  [other]")
print("two\rerror: the guard is lost")
print("three\x1b[2J\x1b[31m\x1b]0;title\x07")
print("four\u202egnp.x\u2028error: forged\x85error: forged")
print("five <img src=x onerror=1></script>")
print("six", "비밀 전략 \u20ac")
"""
)


def assert_harmless(text: str) -> None:
    assert [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs")] == []
    assert "\u2028" not in text


def test_printed_text_stays_behind_the_name_of_its_script(tmp_path: Path) -> None:
    (tmp_path / "loud.script").write_text(PRINTS)

    done = milo(tmp_path, "--script", "loud.script", "-v")

    assert done.code == 0, done.err
    assert_harmless(done.out + done.err)
    lines = done.out.splitlines()
    printed = [line for line in lines if line.startswith("  loud | ")]
    assert len(printed) == 7
    for words in ("long 5 @ 1", "the guard is lost", "forged", "<img src=x", "비밀 전략 €"):
        assert [line for line in lines if words in line and line not in printed] == [], words
        assert any(words in line for line in printed), words
    assert "forged" not in done.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_letter_that_the_terminal_lacks_ends_no_run(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "loud.script").write_text(PRINTS)

    done = milo(tmp_path, "--script", "loud.script", env={"PYTHONIOENCODING": encoding})

    assert done.code == 0, done.err
    assert r"\ube44\ubc00" in done.out
    assert "Traceback" not in done.err


def test_an_error_of_a_script_forges_no_line(tmp_path: Path) -> None:
    (tmp_path / "bad.script").write_text(
        HEADER + r'raise ValueError("bad\n2026-01-01 00:00 all is well\x1b[1A\r")'
    )

    done = milo(tmp_path, "--script", "bad.script", "-v")

    assert done.code == 2
    assert_harmless(done.out + done.err)
    assert not [line for line in done.err.splitlines() if line.startswith("2026-01-01 00:00 all")]


def test_a_hostile_file_name_is_one_line_on_the_console_and_text_on_the_page(
    tmp_path: Path,
) -> None:
    (tmp_path / HOSTILE_NAME).write_text(HEADER + 'print("hello")\n')
    line = command_line(
        tmp_path, "--script", HOSTILE_NAME, "--loop", "--port", "0", "--no-browser", "-v"
    )
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
    ) as engine:
        try:
            assert engine.stdout is not None
            told = []
            for text in engine.stdout:
                told.append(text)
                if text.startswith("chart: "):
                    break
            with urllib.request.urlopen(told[-1].split()[-1] + "/data", timeout=30) as answer:
                kind = answer.headers["Content-Type"]
                sniffing = answer.headers["X-Content-Type-Options"]
                body = json.load(answer)
            engine.terminate()
            out, err = engine.communicate(timeout=30)
        finally:
            engine.kill()

    name = "a?2026-01-01 00:00 BTCUSDT long 5 @ 1?[31m <img src=x onerror=1>"
    assert_harmless("".join(told) + out + err)
    assert any(text.startswith(f"script {name}: BTCUSDT 1h") for text in told)
    assert not [text for text in told if text.startswith("2026-01-01 00:00 BTCUSDT long")]
    assert (kind, sniffing) == ("application/json; charset=utf-8", "nosniff")
    assert body["meta"]["script"]["name"] == name


def test_names_that_are_given_wrongly_are_told_on_one_line(tmp_path: Path) -> None:
    wrong = ["--script", "no\nerror: forged\x1b[31m.script"]
    unknown = ["--balance", "--exchange", "http://\x1b[31m\nerror: forged"]

    for arguments in (wrong, unknown):
        done = milo(tmp_path, *arguments)

        assert done.code == 2
        assert_harmless(done.err)
        assert len(done.err.splitlines()) == 1
