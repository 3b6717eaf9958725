"""What the language allows runs as in plain CPython."""

from __future__ import annotations

import ast

import pytest

from milo.script.limits import MAX_PRINT_BYTES
from milo.script.views import FIELDS
from milo.script.vocabulary import ATTRIBUTES, BUILTINS, EXCEPTIONS, MODULES
from tests.plain_python import benign_scripts, printed_by_cpython
from tests.script_runs import Script, run, walk

BENIGN = benign_scripts()


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    assert len(BENIGN) >= 140


def test_the_corpus_uses_every_name_of_the_language() -> None:
    names: set[str] = set()
    attributes: set[str] = set()
    members: set[tuple[str, str]] = set()
    for text in BENIGN.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.ImportFrom):
                members |= {(str(node.module), alias.name) for alias in node.names}
            elif isinstance(node, ast.Attribute):
                attributes.add(node.attr)
                if isinstance(node.value, ast.Name):
                    members.add((node.value.id, node.attr))

    assert (BUILTINS | EXCEPTIONS) - names == set()
    # Those of candles have tests of their own: there are no candles in plain Python.
    of_candles = set(FIELDS)
    assert ATTRIBUTES - attributes - of_candles - set().union(*MODULES.values()) == set()
    for title, listed in MODULES.items():
        assert {name for name in listed if (title, name) not in members} == set(), title


# Python 3.12 advises against one of the listed functions; it works.
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")
@pytest.mark.parametrize("text", BENIGN.values(), ids=BENIGN.keys())
def test_allowed_feature_prints_what_cpython_prints(text: str) -> None:
    assert run(text).printed == printed_by_cpython(text)


def test_results_have_defaults_and_a_warning() -> None:
    found = run("x = 1")

    assert (found.condition, found.outcome.if_true, found.outcome.if_false) == (
        False,
        "donothing",
        "donothing",
    )
    assert found.outcome.warnings == ("condition_true was not assigned; it counts as False",)


def test_each_evaluation_starts_from_a_clean_namespace() -> None:
    script = Script(
        """
        def f(seen=[]):
            seen.append(1)
            return len(seen)
        try:
            count = count + 1
        except NameError:
            count = 1
        max = 5
        print(count, f(), f())
        """
    )
    candles = walk(3)

    assert [script.run(candles).printed for _ in range(3)] == ["1 1 2\n"] * 3


def test_printed_text_is_capped_and_counted() -> None:
    found = Script("for i in range(3000):\n    print('0123456789')")

    result = found.run(walk(3))

    assert len(result.printed.encode()) == MAX_PRINT_BYTES
    assert found.runner.session.dropped_bytes == 3000 * 11 - MAX_PRINT_BYTES


def test_printed_text_cannot_steer_a_terminal_or_show_addresses() -> None:
    found = run("print('a\\x1b[2J\\u202eb\\r\\ud800', len)\nprint(chr(0x2028) + 'x')")

    assert found.printed.startswith("a?[2J?b??")
    assert "\x1b" not in found.printed
    assert found.printed.endswith("?x\n")


def test_piled_up_accents_and_unseen_letters_are_not_shown() -> None:
    found = run(
        r"print('e' + '\u0301' * 500 + 'x' + '\u0301' + '\u3164' + '\u034f' + '\u200d' * 50)"
    )

    assert found.printed == "e" + "\u0301" * 8 + "?x\u0301??" + "\u200d" * 7 + "?\n"


def test_function_addresses_are_hidden() -> None:
    assert run("def f():\n    pass\nprint(f)").printed == "<function f at 0x?>\n"


def test_coroutine_script_and_plain_script_both_run() -> None:
    assert run("condition_true = lastclose > 0").condition
    assert run("rsi = await calculate_rsi(data)\ncondition_true = rsi[-1] > 0").condition


def test_byte_order_mark_and_windows_newlines_are_accepted() -> None:
    script = Script("x = 1")
    script.runner.load("w.script", b"\xef\xbb\xbfcoin = 'BTCUSDT'\r\ncondition_true = True\r\n")

    assert script.run(walk(3)).condition
