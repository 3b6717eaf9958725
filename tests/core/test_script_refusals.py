"""What the language refuses, and how it says so."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from time import process_time

import pytest

from milo.script.faults import ScriptFault, fault_text
from milo.script.language import check
from milo.script.limits import MAX_NODES, MAX_TEXT_BYTES
from milo.script.names import INDICATOR_NAMES
from milo.script.policy import Vetoed, veto
from tests.script_runs import Script, fault, run, walk


def refused_scripts() -> list[tuple[str, str, str]]:
    """Return (name, words of the message, text) of the programs in refused.scripts."""
    text = (Path(__file__).parent / "refused.scripts").read_text(encoding="utf-8")
    parts = re.split(r"^#: (\w+) \| (.*)\n", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))


REFUSED = refused_scripts()
GOOD = """
rsi = await calculate_rsi(data, 14)
line, signal = await calculate_macd(data)
condition_true = rsi[-1] > 50
print(f"{rsi[-1]:.6f} {line[-1]:.6f} {signal[-1]:.6f} {lastclose}")
"""


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(REFUSED) >= 130


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(
    ("words", "text"),
    [(words, text) for _, words, text in REFUSED],
    ids=[name for name, _, _ in REFUSED],
)
def test_script_is_refused_with_a_place_and_advice(words: str, text: str) -> None:
    before = run(GOOD)

    found = fault(text)

    assert words in found.message or words.startswith("MemoryError")
    assert found.line is not None
    assert 1 <= found.line <= text.count("\n") + 1
    assert run(GOOD) == before
    if "async def" in text:
        # A coroutine that nobody awaited warns now, where it is expected, not in a later test.
        del found
        gc.collect()


def shown(text: str) -> str:
    """Return the whole message that a user reads."""
    try:
        Script(text.strip("\n")).run(walk(60))
    except ScriptFault as found:
        return fault_text(
            "my.script",
            found.message,
            text.strip("\n").split("\n"),
            line=found.line,
            column=found.column,
            end_column=found.end_column,
            candle="2026-01-03 11:00",
        )
    raise AssertionError("the script was accepted")


GOLDEN = [
    (
        "x = 1\nprice = '{}'.format(x)",
        "my.script line 2, column 14, bar 2026-01-03 11:00 UTC: attribute '.format' is not"
        ' available to scripts; use an f-string, like f"{price:.2f}"\n'
        "    price = '{}'.format(x)\n"
        "                 ^^^^^^",
    ),
    (
        "if True:\n\trsi = await calculate_rsii(data)",
        "my.script line 2, column 14, bar 2026-01-03 11:00 UTC: unknown name 'calculate_rsii';"
        " did you mean 'calculate_rsi'?\n"
        "    rsi = await calculate_rsii(data)\n"
        "                ^^^^^^^^^^^^^^",
    ),
    (
        "def half(x):\n    return 1 / (x - x)\ncondition_true = half(3) > 1",
        "my.script line 2, column 12, bar 2026-01-03 11:00 UTC:"
        " ZeroDivisionError: division by zero\n"
        "    return 1 / (x - x)\n"
        "           ^^^^^^^^^^^",
    ),
    (
        "가격 = lastclose\n합계 = 가격 + 없는이름",
        "my.script line 2, column 11, bar 2026-01-03 11:00 UTC: unknown name '없는이름'\n"
        "    합계 = 가격 + 없는이름\n"
        "                  ^^^^^^^^",
    ),
    (
        "x = (1,\n     2",
        "my.script line 1, column 5, bar 2026-01-03 11:00 UTC: syntax error: '(' was never closed\n"
        "    x = (1,\n"
        "        ^",
    ),
    (
        "values = [" + "1, " * 60 + "calculate_smaa(data)" + ", 1" * 60 + "]",
        "my.script line 1, column 191, bar 2026-01-03 11:00 UTC: unknown name 'calculate_smaa';"
        " did you mean 'calculate_sma'?\n"
        "    " + "1, " * 20 + "calculate_smaa(data)" + ", 1" * 13 + ",\n"
        "    " + " " * 60 + "^" * 14,
    ),
    (
        "condition_true = 5",
        "my.script line 1, column 1, bar 2026-01-03 11:00 UTC:"
        " condition_true must be True or False, not the number 5\n"
        "    condition_true = 5\n"
        "    ^^^^^^^^^^^^^^",
    ),
]


@pytest.mark.parametrize(("text", "message"), GOLDEN)
def test_message_names_place_and_shows_the_line_with_a_caret(text: str, message: str) -> None:
    assert shown(text) == message


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"x = 1\n#" + b"a" * MAX_TEXT_BYTES, "bytes; a script may have 65536"),
        (b"x = '\xff'", "the file is not UTF-8 text here"),
        ("x = 1 # \u202e".encode(), "invisible character U+202E (right-to-left override)"),
        (b"x = 1\x00", "invisible character U+0000"),
        (b"x = 1\x0c", "invisible character U+000C"),
        (b"x = 1\ry = 2", "invisible character U+000D"),
        ("x = 'a\u2028b'".encode(), "invisible character U+2028"),
        ("x = '\u200b'".encode(), "invisible character U+200B (zero width space)"),
        ("x = 'a\u3164'".encode(), "invisible character U+3164 (hangul filler)"),
        (b"x = " + b"[" * 51 + b"]" * 51, "brackets are nested more than 50 deep"),
        (b"x = " + b"-" * 30000 + b"1", "nested"),
        (b"x = " + b"1 + " * 15000 + b"1", "nested"),
        (b"x = " + b"not " * 70 + b"1", "nested more than 60"),
        (b"x = [" + b"0," * (MAX_NODES + 1) + b"]", "more than 20000 parts"),
        (b"x = '" + b"a" * 5000 + b"'", "a text of 5000 characters; at most 4096"),
        (b"if a:\n pass\n" * 1 + b"elif a:\n pass\n" * 100, "nested more than 60"),
    ],
)
def test_text_that_could_break_or_fool_a_reader_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(ScriptFault, match=re.escape(words)):
        check(raw, INDICATOR_NAMES)


def test_brackets_in_strings_and_comments_do_not_count() -> None:
    text = "x = '" + "(" * 80 + '"' + "'  # " + "[" * 80 + '\ny = """' + "{" * 80 + '"""\n'

    check(text.encode(), INDICATOR_NAMES)


def test_emoji_and_other_scripts_are_welcome() -> None:
    check("größe = '👩‍👧 ❤️ 한국어'\nप्रिय = 1\nprint(größe, प्रिय)".encode(), INDICATOR_NAMES)


def test_text_full_of_faults_is_refused_at_its_first_one_and_soon() -> None:
    text = "x = 1\n" + "data.zzz; " * 3000 + "\nimport os\n"
    started_s = process_time()

    with pytest.raises(ScriptFault, match=r"'\.zzz' is not available") as caught:
        check(text.encode(), INDICATOR_NAMES)

    assert (caught.value.line, caught.value.column) == (2, 6)
    assert process_time() - started_s < 5


def test_second_check_refuses_by_itself_what_the_first_one_refuses() -> None:
    with pytest.raises(Vetoed, match="__class__"):
        veto("x = 1\ny = x.__class__")


def test_second_check_lets_the_language_through() -> None:
    veto(
        "async def f(x: int, *, y=1) -> int:\n    n = 0\n    def g():\n        nonlocal n\n"
        "        n += 1\n    g()\n    return await f(x)\nd: dict = {}\nd['a'] += await f(1)\n"
    )


def test_warnings_are_told_before_the_run() -> None:
    script = Script(
        "rsi = calculate_rsi(data)\naction_if_true = 'long(1%risk)'\nif lastclose is 5:\n    pass\n"
    )

    assert script.checked.warnings == (
        "line 2: action 'long(1%risk)': ')' stands where '@' is expected",
        "line 1: condition_true is never assigned, so it is always False",
        "line 1: calculate_rsi(...) is called without 'await'",
        'line 3: "is" with a literal. Did you mean "=="?',
    )


def test_names_that_pass_for_others_are_warned_of() -> None:
    script = Script(
        "l\u0430stclose = 0\nприбыль = größe = Δclose = 1\ncondition_true = l\u0430stclose > 5"
    )

    assert script.checked.warnings == (
        "line 1: the name 'l\u0430stclose' mixes letters of two alphabets that look alike",
    )


def test_every_error_that_a_script_does_not_catch_names_its_innermost_line() -> None:
    found = fault("def a():\n    return b()\n\ndef b():\n    return [1][5]\n\na()")

    assert (found.line, found.column, found.message) == (
        5,
        12,
        "IndexError: list index out of range",
    )
