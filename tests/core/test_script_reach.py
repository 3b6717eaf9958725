"""What a script can reach by its dots is a written table, and holds nothing of the interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.script_reach import of_this_python, reached

CODE_AND_ERRORS = {"generator": {"close"}, "coroutine": {"close"}, "UnicodeEncodeError": {"start"}}
"""Of what holds frames, code or tracebacks: `close` ends it, as throwing it away does, and `start`
is a number."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def reach() -> dict[str, frozenset[str]]:
    return reached()


def test_reach_of_scripts_is_the_written_table(
    reach: dict[str, frozenset[str]], project_dir: Path
) -> None:
    written = (project_dir / "tests/golden/script_attributes.txt").read_text(encoding="utf-8")
    now = {kind: names for kind, names in reach.items() if names}

    pairs = {(kind, name) for kind, names in now.items() for name in names}
    expected = {(k, name) for k, names in of_this_python(written).items() for name in names}
    assert pairs - expected == set()
    assert expected - pairs == set()
    assert len(pairs) > 500


@pytest.mark.parametrize(
    "kind",
    [
        "function", "method", "builtin_function_or_method", "method_descriptor", "generator",
        "coroutine", "async_generator", "getset_descriptor", "member_descriptor",
        "milo.script.views.Series", "milo.script.views.CandleHistory", "UnionType", "NoneType",
        "ellipsis", "map", "zip", "filter", "enumerate", "reversed", "callable_iterator",
        "list_iterator", "dict_values", "ZeroDivisionError", "type ValueError", "KeyError",
        "statistics.StatisticsError", "RecursionError", "StopIteration", "AttributeError",
    ],
)  # fmt: skip
def test_code_frames_and_errors_give_nothing_away(
    reach: dict[str, frozenset[str]], kind: str
) -> None:
    found = {name for name in reach if name.rpartition(".")[2] == kind.rpartition(".")[2]}

    assert found
    for name in found:
        assert reach[name] == CODE_AND_ERRORS.get(kind, set()), name


def test_no_error_holds_more_than_a_number(reach: dict[str, frozenset[str]]) -> None:
    errors = {kind: set(names) for kind, names in reach.items() if names and "Error" in kind}

    assert errors == {"UnicodeEncodeError": {"start"}}


def test_nothing_of_numpy_or_of_the_host_is_in_reach(reach: dict[str, frozenset[str]]) -> None:
    foreign = {
        kind
        for kind in reach
        if "numpy" in kind
        or (
            kind.startswith("milo.")
            and "milo.script.views." not in kind
            and kind != "milo.script.lazy_list.LazyList"
        )
    }

    assert foreign == set()
    assert not {"module", "code", "frame", "traceback", "cell", "type type", "type object"} & set(
        reach
    )
