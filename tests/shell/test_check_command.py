"""`--check FILE...`: each file gets its verdict, in words and as JSON; only a worker parses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .commands import PROJECT, command_line, environment, milo

GOOD = """\
timeframe = "4h"
coin = "ETHUSDT"
period = param("period", 14, 5, 50)
level = param("level", 0.5)
rsi = await calculate_rsi(data, period)
atr = await calculate_atr(data)
condition_true = rsi[-1] < level
action_if_true = "long(1%risk@10x,sl=2%,rr=3)"
"""
MARKER = "marker_that_only_the_script_holds"

# What a stranger's folder may hold, and what is said of it.
BROKEN: list[tuple[str, bytes, str, int | None, int | None]] = [
    ("syntax", b"x = 1\ny = (\n", "'(' was never closed", 2, 5),
    ("import", b"import os\n", "import", 1, 8),
    ("unknown", b"\n\nx = nonsense\n", "unknown name 'nonsense'", 3, 5),
    ("timeframe", b'timeframe = "7h"\n', "timeframe '7h'", 1, 13),
    ("latin", b"x = 1\nname = '\xe4'\n", "not UTF-8", 2, 9),
    ("binary", bytes(range(256)), "not UTF-8", 2, 118),
    ("zeros", bytes(64), "invisible character U+0000", 1, 1),
    ("empty", b"", "the file is empty", None, None),
    ("blank", b" \n\t\n", "the file is empty", None, None),
    ("huge", b"x = 1\n" * 20_000, "larger than 65536 bytes", None, None),
    ("deep", b"x = " + b"(" * 5_000, "nested more than 50 deep", 1, 55),
]


def checked(folder: Path, *names: str) -> tuple[int, dict[str, Any]]:
    done = milo(folder, "--check", *names, "--json", "-")
    assert "Traceback" not in done.err, done.err
    document: dict[str, Any] = json.loads(done.out)
    return done.code, document


def test_an_accepted_script_is_described(tmp_path: Path) -> None:
    (tmp_path / "good.script").write_text(GOOD)

    told = milo(tmp_path, "--check", "good.script")
    code, document = checked(tmp_path, "good.script")

    assert told.code == code == 0
    assert told.out.splitlines()[:6] == [
        "good.script: accepted",
        "  timeframe   4h",
        "  coin        ETHUSDT",
        "  indicators  calculate_atr, calculate_rsi",
        "  input       period = 14, from 5, to 50",
        "  input       level = 0.5",
    ]
    assert (document["schema"], document["is_good"], len(document["scripts"])) == (1, True, 1)
    expected = {
        "file": "good.script",
        "verdict": "accepted",
        "sha256": hashlib.sha256(GOOD.encode()).hexdigest(),
        "timeframe": "4h",
        "coin": "ETHUSDT",
        "indicators": ["calculate_atr", "calculate_rsi"],
        "inputs": [
            {"name": "period", "default": 14, "low": 5, "high": 50},
            {"name": "level", "default": 0.5, "low": None, "high": None},
        ],
        "warnings": [],
        "errors": [],
    }
    row = document["scripts"][0]
    assert {name: row[name] for name in expected} == expected


def test_every_broken_file_gets_its_own_verdict_and_hides_no_other(tmp_path: Path) -> None:
    for name, raw, *_ in BROKEN:
        (tmp_path / f"{name}.script").write_bytes(raw)
    (tmp_path / "good.script").write_text(GOOD)
    names = [*(f"{name}.script" for name, *_ in BROKEN), "good.script"]

    code, document = checked(tmp_path, *names)

    assert code == 2
    assert document["is_good"] is False
    assert [row["file"] for row in document["scripts"]] == names
    *refused, accepted = document["scripts"]
    assert accepted["verdict"] == "accepted"
    for row, (_, _, message, line, column) in zip(refused, BROKEN, strict=True):
        (error,) = row["errors"]
        assert row["verdict"] == "refused"
        assert message in error["message"]
        assert (error["line"], error["column"]) == (line, column), row
        assert "\n" not in error["message"]
        assert (row["timeframe"], row["coin"], row["inputs"]) == (None, None, [])


def test_what_is_no_file_is_refused_and_nothing_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "folder.script").mkdir()
    os.mkfifo(tmp_path / "pipe.script")
    (tmp_path / "dangling.script").symlink_to(tmp_path / "nowhere")
    names = ["missing.script", "folder.script", "pipe.script", "dangling.script", "/dev/zero"]

    code, document = checked(tmp_path, *names)

    assert code == 2
    messages = [row["errors"][0]["message"] for row in document["scripts"]]
    assert messages == [
        "cannot be read: No such file or directory",
        "cannot be read: Is a directory",
        "cannot be read: not a regular file",
        "cannot be read: No such file or directory",
        "cannot be read: not a regular file",
    ]


def test_the_page_shows_the_document_as_it_is(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "scripts.md").read_text()
    shown = json.loads(re.findall(r"```\n(\{.*?\n\})\n```", page, re.DOTALL)[0])
    script = 'timeframe = "1h"\ncoin = "BTCUSDT"\n\nrsi = await calculate_rsii(data, 14)\n'
    (tmp_path / "first.script").write_text(script)

    _, document = checked(tmp_path, "first.script")

    assert document == shown
    table = page[page.index("| field | meaning |") :]
    for name in (*document, *document["scripts"][0], "default", "low", "high", "line", "message"):
        assert f"`{name}`" in table, name


def test_json_goes_into_a_file_beside_the_words(tmp_path: Path) -> None:
    (tmp_path / "good.script").write_text(GOOD)

    done = milo(tmp_path, "--check", "good.script", "--json", "verdict.json")
    nowhere = milo(tmp_path, "--check", "good.script", "--json", "no/verdict.json")

    assert done.code == 0, done.err
    assert "good.script: accepted" in done.out
    assert json.loads((tmp_path / "verdict.json").read_text())["is_good"] is True
    assert nowhere.code == 2
    assert "no such folder" in nowhere.err


@pytest.mark.parametrize(
    "name",
    [
        "a\nERROR forged line.script",
        "\x1b[31mred\x1b[0m.script",
        "\u202eright to left.script",
        "line\u2028separator.script",
        "<img src=x onerror=1>.script",
    ],
)
def test_a_file_name_forges_no_line_and_no_colour(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x = nonsense\n")

    told = milo(tmp_path, "--check", name)
    _, document = checked(tmp_path, name)

    lines = told.out.splitlines()
    assert len(lines) == 4
    assert lines[0].endswith(".script: refused")
    assert "line 1, column 5: unknown name" in lines[1]
    assert all(line.isprintable() for line in lines)
    assert document["scripts"][0]["file"].isprintable()


def test_a_file_name_that_is_no_text_is_shown_all_the_same(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.script")
    (tmp_path / name).write_text("x = 1\n")

    done = milo(tmp_path, "--check", name)

    assert done.code == 0, done.err
    assert done.out.startswith("??.script: accepted")


def test_the_engine_never_parses_a_script(tmp_path: Path) -> None:
    (tmp_path / "s.script").write_text(f"{MARKER} = 1\ncondition_true = True\n")
    (tmp_path / "bad.script").write_text(f"{MARKER} = (\n")
    watched = tmp_path / "watched.py"
    watched.write_text(
        "import json, sys\n"
        "compiled = []\n"
        "def note(event, given):\n"
        "    if event == 'compile':\n"
        "        compiled.append(repr(given[0]))\n"
        "sys.addaudithook(note)\n"
        f"sys.path.insert(0, {str(PROJECT)!r})\n"
        "import main\n"
        "code = main.main()\n"
        "seen = [text for text in compiled if " + repr(MARKER) + " in text]\n"
        "parsers = [n for n in ('RestrictedPython', 'milo.script.language', "
        "'milo.script.header', 'milo.script.runner') if n in sys.modules]\n"
        "print(json.dumps([len(compiled), seen, parsers]), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    told = {}

    for title, *arguments in (
        ("check", "--check", "s.script", "bad.script"),
        ("run", "--script", "s.script"),
    ):
        command = command_line(tmp_path, *arguments)
        command[1] = str(watched)
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(),
            timeout=120,
            check=False,
        )
        told[title] = (done.returncode, json.loads(done.stderr.splitlines()[-1]))

    for title, code in (("check", 2), ("run", 0)):
        returned, (count, seen, parsers) = told[title]
        assert returned == code, title
        assert count > 0, "the watch sees what Python itself compiles"
        assert seen == [], title
        assert parsers == [], title


def test_the_watch_of_the_test_above_would_see_a_parser(tmp_path: Path) -> None:
    code = (
        "import ast, sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, given: event == 'compile' and seen.append(given[0]))\n"
        "ast.parse('x = 1')\n"
        "assert any('x = 1' in repr(source) for source in seen), seen\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
