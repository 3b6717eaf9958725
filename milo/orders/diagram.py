"""The state diagram of an order as docs/orders.md shows it, made from the table of moves. Pure.

`make docs` writes it into the page, between two markers.
"""

from __future__ import annotations

from milo.orders.machine import FINAL, LATE_MOVES, MOVES, OrderState

BEGIN = "<!-- made by `make docs` from milo/orders/machine.py: begin -->"
END = "<!-- made by `make docs` from milo/orders/machine.py: end -->"


def diagram() -> str:
    """Return the moves as a Mermaid state diagram; late ones are labelled."""
    lines = ["stateDiagram-v2", f"    [*] --> {OrderState.PLACING}"]
    for before, after in _moves():
        label = " : late" if (before, after) in LATE_MOVES else ""
        lines.append(f"    {before} --> {after}{label}")
    # A state that a late move leaves is an end all the same, as long as that move does not come.
    lines += [f"    {state} --> [*]" for state in OrderState if state in FINAL]
    return "\n".join(lines)


def table() -> str:
    """Return the moves as a Markdown table, a row a state."""
    rows = ["| state | final | may become | late |", "|---|---|---|---|"]
    for state in OrderState:
        usual = [after for before, after in _moves() if before is state]
        late = [after for after in usual if (state, after) in LATE_MOVES]
        usual = [after for after in usual if after not in late]
        final = "yes" if state in FINAL else ""
        rows.append(f"| {state} | {final} | {_listed(usual)} | {_listed(late)} |")
    return "\n".join(rows)


def made_part() -> str:
    """Return what stands between the markers."""
    return f"\n```mermaid\n{diagram()}\n```\n\n{table()}\n"


def rewritten(page: str) -> str:
    """Return the page with its made part made anew; ValueError where its markers are missing."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no markers {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n{made_part()}\n{END}{tail}"


def _moves() -> list[tuple[OrderState, OrderState]]:
    # In the order of the states, not of the sets: the page must not change from run to run.
    return [
        (before, after) for before in OrderState for after in OrderState if after in MOVES[before]
    ]


def _listed(states: list[OrderState]) -> str:
    return ", ".join(states)
