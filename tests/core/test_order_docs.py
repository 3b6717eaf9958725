"""docs/orders.md shows the table of moves as it is, and names every code that it promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from milo.orders.diagram import BEGIN, END, diagram, made_part, rewritten, table
from milo.orders.machine import FINAL, LATE_MOVES, MOVES, OrderState
from milo.wire.codes import CODES, Reaction

AMBIGUOUS = (
    -1000, -1001, -1003, -1006, -1007, -1008, -1015, -1021, -2011, -2013, -2021, -2022, -4116,
    -4117, -4130, -4509, -5028,
)  # fmt: skip
"""The codes whose handling the page must explain."""


@pytest.fixture(scope="module")
def page(project_dir: Path) -> str:
    return (project_dir / "docs" / "orders.md").read_text(encoding="utf-8")


def test_the_page_shows_the_table_of_moves_as_it_is(page: str) -> None:
    assert rewritten(page) == page, "run: make docs"


def test_the_diagram_has_every_legal_move_and_no_other() -> None:
    shown = re.findall(r"^    (\w+) --> (\w+)( : late)?$", diagram(), re.MULTILINE)

    legal = {(str(before), str(after)) for before in MOVES for after in MOVES[before]}
    assert {(before, after) for before, after, _ in shown} == legal
    late = {(before, after) for before, after, label in shown if label}
    assert late == {(str(before), str(after)) for before, after in LATE_MOVES}
    assert len(shown) == len(legal)


def test_the_table_has_a_row_a_state_and_says_which_are_final() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table().splitlines()[2:]]

    assert [row[0] for row in rows] == [str(state) for state in OrderState]
    assert {row[0] for row in rows if row[1] == "yes"} == {str(state) for state in FINAL}


def test_only_what_stands_between_the_markers_is_made_anew() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    made = rewritten(page)

    assert made.startswith("before\n")
    assert made.endswith("\nafter\n")
    assert "old" not in made
    assert made_part() in made
    assert rewritten(made) == made


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="no markers"):
        rewritten("# Orders\n")


@pytest.mark.parametrize("code", AMBIGUOUS)
def test_the_page_explains_every_code_of_unclear_outcome(page: str, code: int) -> None:
    assert code in CODES
    assert re.search(rf"\| [^|\n]*{code}\b", page), code


def test_the_page_explains_every_code_after_which_the_state_must_be_read(page: str) -> None:
    read = {code for code, rule in CODES.items() if rule.reaction is Reaction.RECONCILE}
    # The listen key is no order's business, and -4118 goes with -2022.
    missing = {code for code in read - {-1125} if str(code) not in page}

    assert not missing
