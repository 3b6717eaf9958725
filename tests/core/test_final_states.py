"""Whatever happens, in whatever order it is told: orders of the book move by the table only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from milo.orders.book import Book
from milo.orders.machine import LATE_MOVES, MOVES, OrderState
from tests.core.test_any_order_of_events import Storm

Move = tuple[OrderState, OrderState]


def states_of(book: Book) -> dict[str, OrderState]:
    return {
        client_id: own.state
        for state in book.symbols.values()
        for client_id, own in state.orders.items()
    }


class WatchedStorm(Storm):
    """A storm that notes every change of an order's state between two events."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.moves: list[Move] = []
        deliver: Callable[..., list[Any]] = self.desk.deliver

        def watched(*events: Any) -> list[Any]:
            before = states_of(self.desk.book)
            given = deliver(*events)
            after = states_of(self.desk.book)
            self.moves += [
                (state, after[client_id])
                for client_id, state in before.items()
                if client_id in after and after[client_id] is not state
            ]
            return given

        self.desk.deliver = watched  # type: ignore[method-assign]


def moves_of(seed: int) -> list[Move]:
    storm = WatchedStorm(seed)
    storm.blow(20 + seed % 60)
    storm.rest()
    return storm.moves


@pytest.mark.parametrize("first", range(1000, 1200, 50))
def test_a_final_state_is_left_by_listed_late_moves_only_in_any_storm(first: int) -> None:
    for seed in range(first, first + 50):
        for before, after in moves_of(seed):
            # Two reports of one event may make two steps of the table: each must be there.
            assert _is_reachable(before, after), (seed, before, after)
            if before.is_final:
                assert _leaves_by_late_move(before, after), (seed, before, after)


def test_storms_see_late_moves_at_all() -> None:
    moves = {move for seed in range(1000, 1200) for move in moves_of(seed)}

    assert moves & LATE_MOVES
    assert len(moves) > 12


def _is_reachable(before: OrderState, after: OrderState) -> bool:
    return after in MOVES[before] or any(after in MOVES[step] for step in MOVES[before])


def _leaves_by_late_move(before: OrderState, after: OrderState) -> bool:
    firsts = [step for state, step in LATE_MOVES if state is before]
    return after in firsts or any(after in MOVES[step] for step in firsts)
