"""Looking on while a script is evaluated: nothing changes by it, and the rows say what happened."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from milo.script.faults import ScriptFault
from milo.script.limits import MAX_STEP_TEXT, MAX_STEP_VALUE, MAX_STEPS
from milo.script.protocol import (
    EXPLAINED,
    MAX_REPLY_BYTES,
    Explained,
    FrameReader,
    WireStep,
    parse_reply,
    reply_frame,
)
from tests.fuzz.mutations import Calls, Mutations
from tests.fuzz.programs import Programs
from tests.lifting import base_of, columns
from tests.plain_python import benign_scripts
from tests.script_grammar import Grammar
from tests.script_runs import Script

COUNT = 60
PARTS = columns(COUNT, 3, hostile=False)


def steps(text: str, count: int = COUNT) -> list[WireStep]:
    runner = Script(text).runner
    outcome, _, watch = runner.explain(base_of(PARTS, count), count, (1000.0, []))
    rows, left_out = watch.steps(outcome.condition)
    assert left_out == 0
    return list(rows)


def row(rows: list[WireStep], text: str) -> WireStep:
    (found,) = [row for row in rows if row.text == text]
    return found


def told(text: str) -> list[tuple[str, str, bool | None]]:
    return [(row.text, row.value, row.held) for row in steps(text)]


# -- the same as without ---------------------------------------------------------------------


def evaluated(script: Script, seed: int, *, watched: bool) -> tuple[object, ...]:
    """Return all that an evaluation tells: results, error and its place, warnings, output."""
    runner = script.runner
    evaluate = runner.explain if watched else runner.evaluate
    parts = columns(30, seed, hostile=seed % 3 == 0)
    outcome: object = None
    error: ScriptFault | None = None
    try:
        got = evaluate(base_of(parts, 30), 30, (1000.0, []))
        outcome, error = (got[0], got[1]) if isinstance(got, tuple) else (got, None)
    except ScriptFault as fault:
        error = fault
    if error is not None:
        outcome = (type(error), error.message, error.line, error.column, error.end_column)
    session = runner.session
    drawn = {key: repr(value) for key, value in session.plots.items()}
    return outcome, "".join(session.printed), drawn, session.marks, session.awaits


def compare(text: str, seed: int) -> bool:
    """Compare both ways to evaluate; return whether the text is a script at all."""
    try:
        plain, watched = Script(text), Script(text)
    except ScriptFault:
        return False
    expected = evaluated(plain, seed, watched=False)

    assert evaluated(watched, seed, watched=True) == expected, f"seed {seed}\n{text}"
    # The plain form is the same afterwards.
    assert evaluated(watched, seed, watched=False) == expected, f"seed {seed}\n{text}"
    return True


MAKERS: dict[str, tuple[Callable[[random.Random], str], int]] = {
    "liftable": (lambda rng: Grammar(rng).script(), 50),
    "programs": (lambda rng: Programs(rng).program(), 50),
    "mutations": (lambda rng: Mutations(rng).program(), 1),
    "calls": (lambda rng: Calls(rng).program(), 20),
}
"""Each with how many of its texts are scripts at the least."""


@pytest.mark.parametrize(("maker", "least"), MAKERS.values(), ids=MAKERS.keys())
def test_random_scripts_do_the_same_while_they_are_looked_at(
    maker: Callable[[random.Random], str], least: int
) -> None:
    accepted = sum(compare(maker(random.Random(seed)), seed) for seed in range(60))

    assert accepted >= least


def test_every_program_of_the_language_does_the_same() -> None:
    for text in benign_scripts().values():
        assert compare(text, 1)


def test_samples_do_the_same(project_dir: Path) -> None:
    for path in sorted((project_dir / "samples").glob("*.script")):
        assert compare(path.read_text(encoding="utf-8"), 1)


@pytest.mark.parametrize(
    "text",
    [
        "def f(n):\n    return f(n - 1) > 0 or n\ncondition_true = f(5) > 3",
        "condition_true = data[-1].close > 1 > 'a'",
        "x, y = 1, 2, 3",
        "condition_true = not undefined_later and 1\nundefined_later = 1",
        "a = [1]\na.append(a)\ncondition_true = a == [1]",
        "condition_true = 2 ** 400 > 3 and 5",
        "x = 1 if (await calculate_rsi(data)) > 3 else 2",
    ],
)
def test_failures_are_the_same(text: str) -> None:
    assert compare(text, 1)


# -- what the rows say -----------------------------------------------------------------------


def test_comparison_shows_both_values_and_whether_it_held() -> None:
    rows = told("fast = 101.2\nslow = 103.9\ncondition_true = fast > slow")

    assert rows[-1] == ("condition_true = fast > slow", "101.2 > 103.9", False)


def test_values_that_look_alike_are_shown_to_the_last_digit() -> None:
    rows = told("a = 0.1 + 0.2\ncondition_true = a == 0.3")

    assert rows[-1][1] == "0.30000000000000004 == 0.3"


def test_part_that_was_not_looked_at_says_so() -> None:
    rows = steps("a = 1\nb = 2\ncondition_true = a > 1 and b > 1 or not b")

    assert row(rows, "a > 1").held is False
    assert (row(rows, "b > 1").held, row(rows, "b > 1").times) == (None, 0)
    assert row(rows, "not b").held is False
    assert row(rows, "b").held is True


def test_part_of_an_earlier_turn_of_a_loop_is_no_part_of_the_last() -> None:
    rows = steps(
        """
        for i in (3, 1):
            found = i > 2 and i < 9
        condition_true = found
        """
    )

    assert row(rows, "i > 2").value == "1 > 2"
    assert row(rows, "i < 9").times == 0
    assert row(rows, "i").value == "1"


def test_links_of_a_chain_stop_at_the_one_that_failed() -> None:
    rows = steps("x = 5\ncondition_true = 0 < x < 4 < x < 9")

    assert (row(rows, "0 < x").value, row(rows, "0 < x").held) == ("0 < 5", True)
    assert (row(rows, "x < 4").value, row(rows, "x < 4").held) == ("5 < 4", False)
    assert (row(rows, "4 < x").value, row(rows, "4 < x").held) == ("", None)
    assert row(rows, "condition_true = 0 < x < 4 < x < 9").value == "0 < 5 < 4 < … < …"


def test_branches_tell_which_way_the_script_went() -> None:
    rows = steps(
        """
        x = 5
        if x > 7:
            side = "long"
        elif x > 3:
            side = "short"
        else:
            side = "none"
        action_if_true = "close" if side == "short" else "donothing"
        condition_true = True
        """
    )

    assert row(rows, "if x > 7").held is False
    assert row(rows, "elif x > 3").held is True
    assert row(rows, 'side = "short"').value == '"short"'
    assert row(rows, 'side == "short"').held is True
    assert not [step for step in rows if step.text in ('side = "long"', 'side = "none"')]


def test_names_of_an_unpacked_indicator_have_a_row_each() -> None:
    rows = steps("line, signal = await calculate_macd(data)\ncondition_true = False")

    assert [step.text for step in rows if step.depth == 1] == ["line", "signal"]
    assert row(rows, "line").value.endswith("(newest of 60)")


def test_indicator_within_an_expression_has_a_row_of_its_own() -> None:
    rows = steps("rsi = (await calculate_rsi(data, 14))[-1]\ncondition_true = rsi < 30")

    inner = row(rows, "await calculate_rsi(data, 14)")
    assert inner.depth == 1
    assert inner.value.split()[0] == row(rows, "rsi = (await calculate_rsi(data, 14))[-1]").value


def test_what_decided_is_marked_through_names_functions_and_counters() -> None:
    rows = steps(
        """
        def high(x):
            return x > 3
        unrelated = 1 > 2
        score = 0
        if lastclose > 0:
            score += 1
        plain = high(5)
        condition_true = plain and score >= 1
        action_if_true = "close" if score else "donothing"
        action_if_false = "close" if unrelated else "donothing"
        """
    )

    deciding = {step.text for step in rows if step.decides and step.depth == 0}
    assert deciding == {
        "return x > 3",
        "if lastclose > 0",
        "score += 1",
        "plain = high(5)",
        "condition_true = plain and score >= 1",
        'action_if_true = "close" if score else "donothing"',
    }


def test_test_around_a_result_that_was_not_reached_decided_as_well() -> None:
    rows = steps("condition_true = False\nif lastclose < 0:\n    condition_true = True")

    assert row(rows, "if lastclose < 0").decides


def test_rows_end_where_the_script_fails() -> None:
    runner = Script("x = 1\ny = 1 / 0\ncondition_true = x > 2").runner

    outcome, fault, watch = runner.explain(base_of(PARTS, 5), 5, (1000.0, []))

    assert fault is not None
    assert "ZeroDivisionError" in fault.message
    assert [step.text for step in watch.steps(outcome.condition)[0]] == ["x = 1"]


def test_nothing_of_one_evaluation_is_left_in_the_next() -> None:
    runner = Script("if len(data) > 5:\n    late = 1\ncondition_true = len(data) > 7").runner
    runner.explain(base_of(PARTS, 9), 9, (1000.0, []))

    _, _, watch = runner.explain(base_of(PARTS, 3), 3, (1000.0, []))

    assert [step.text for step in watch.steps(False)[0]] == [
        "if len(data) > 5",
        "condition_true = len(data) > 7",
    ]


@pytest.mark.parametrize("letter", ['\\"', "\\\\", "é", "\U0001f600", "x"])
def test_the_longest_explanation_fits_into_one_frame_and_keeps_what_decided(letter: str) -> None:
    lines = [f'v = "{letter}" * 200', 'w = v + "!"']
    lines += [f"a{place} = v > w" for place in range(MAX_STEPS + 50)]
    lines.append("condition_true = a1 and v != w")
    runner = Script("\n".join(lines)).runner
    outcome, _, watch = runner.explain(base_of(PARTS, 5), 5, (1000.0, []))

    rows, left_out = watch.steps(outcome.condition)

    assert left_out > 0
    assert len(rows) <= MAX_STEPS
    assert rows[-1].decides
    reply = Explained(
        request=2**31, condition=True, if_true="é" * 200, if_false="é" * 200, error="é" * 500,
        warnings=("é" * 500,), steps=rows, left_out=left_out,
    )  # fmt: skip
    (read,) = FrameReader(MAX_REPLY_BYTES).feed(reply_frame(reply))
    assert read[0] == EXPLAINED
    assert parse_reply(*read) == reply


def test_texts_of_rows_are_short_and_clean() -> None:
    long = ", ".join(["1"] * 300)
    rows = steps(f'a = "\\x1b[2J" + "y" * 1000\nb = [{long}]\nc = (b,\n  a)\ncondition_true = True')

    assert all(len(step.text) <= MAX_STEP_TEXT for step in rows)
    assert all(len(step.value) <= MAX_STEP_VALUE for step in rows)
    assert not any("\x1b" in step.value for step in rows)
    assert rows[2].text == "c = (b, a)"


def test_values_of_every_kind_have_a_text() -> None:
    text = textwrap.dedent(
        """
        a = [1, 2.5, "x", None, True, 6]
        b = {"k": (1, [2, [3]])}
        z = {1}
        d = 2 ** 1000
        e = lambda x: x
        f = data[-1]
        g = data
        h = (n for n in a)
        i = timedelta(hours=1)
        j = float("nan")
        k = await calculate_zigzag(data)
        l = await calculate_zigzag(data[:1])
        condition_true = True
        """
    )

    values = {row.text[0]: row.value for row in steps(text)}

    assert values["a"] == '[1, 2.5, "x", None, … 6 in all]'
    assert values["b"] == '{"k": (1, a list of 2)}'
    assert values["z"] == "a set of 1"
    assert values["d"] == "a whole number of 1,001 bits"
    assert values["e"] == "a function"
    assert values["f"].startswith("open ")
    assert values["g"].startswith("60 candles, newest close ")
    assert ' in all, newest {"index": ' in values["k"]
    assert values["l"] == "[]"
    assert (values["h"], values["i"], values["j"]) == ("a generator", "1:00:00", "nan")
