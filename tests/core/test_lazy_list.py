"""The lists of swing points and divergences do what lists do, and cost what is new."""

from __future__ import annotations

import random
from collections.abc import Callable
from operator import add, eq
from typing import Any

import pytest

from milo.script.lazy_list import LazyList
from tests.script_runs import run, walk


def pair(rng: random.Random) -> tuple[LazyList, list[dict[str, Any]]]:
    items = [{"index": number, "value": rng.random()} for number in range(rng.randrange(7))]
    count = rng.randrange(len(items) + 1)
    # The shared part may have grown behind what the list shows.
    shared = items[:count] + [{"index": -1}] * rng.randrange(3)
    return LazyList(shared, count, items[count:]), [item.copy() for item in items]


def by_index(item: dict[str, Any]) -> Any:
    return -item["index"]


NEW = {"index": 9}
OPERATIONS: list[Callable[[Any, int], Any]] = [
    lambda items, at: items[at],
    lambda items, at: items[at:],
    lambda items, at: items[:at:2],
    lambda items, at: items[at].update(value=1),
    lambda items, at: items["x"],
    lambda items, at: list(items),
    lambda items, at: list(reversed(items)),
    lambda items, at: (len(items), bool(items), str(items)),
    lambda items, at: items.append(dict(NEW)),
    lambda items, at: items.extend([dict(NEW)]),
    lambda items, at: items.insert(at, dict(NEW)),
    lambda items, at: items.pop(at),
    lambda items, at: items.pop(),
    lambda items, at: items.remove(NEW),
    lambda items, at: items.index(NEW),
    lambda items, at: items.count(NEW),
    lambda items, at: items.sort(key=by_index),
    lambda items, at: items.reverse(),
    lambda items, at: items.clear(),
    lambda items, at: items.copy(),
    lambda items, at: NEW in items,
    lambda items, at: items.__setitem__(at, dict(NEW)),
    lambda items, at: items.__delitem__(at),
    lambda items, at: add(items, [NEW]),
    lambda items, at: add([NEW], items),
    lambda items, at: items * 2,
    lambda items, at: 2 * items,
    lambda items, at: items == items[:],
    lambda items, at: eq([NEW], items),
    lambda items, at: items < [NEW],
    lambda items, at: isinstance(items, list),
    lambda items, at: hash(items),
]


def outcome(operation: Callable[[Any, int], Any], items: Any, at: int) -> Any:
    try:
        return operation(items, at)
    except (IndexError, ValueError, TypeError, AttributeError) as error:
        return type(error), str(error).replace("LazyList", "list")


@pytest.mark.parametrize("seed", range(200))
def test_random_operations_give_what_a_list_gives(seed: int) -> None:
    rng = random.Random(seed)
    lazy, plain = pair(rng)

    for _ in range(12):
        operation, at = rng.choice(OPERATIONS), rng.randint(-4, 4)
        assert outcome(operation, lazy, at) == outcome(operation, plain, at)

    assert lazy == plain


def test_what_a_script_changes_stays_its_own() -> None:
    shared = [{"value": 1.0}]
    first, second = LazyList(shared, 1, []), LazyList(shared, 1, [])

    first[0]["value"] = 2.0
    next(iter(second))["value"] = 3.0

    assert shared == [{"value": 1.0}]
    assert (first[0]["value"], second[0]["value"]) == (2.0, 3.0)


def test_changed_points_are_compared_as_they_are() -> None:
    result = run(
        """
        rsi = await calculate_rsi(data, 5)
        answers = []
        for change in range(4):
            points = await calculate_zigzag(data)
            if change == 1:
                points[-2]["value"] *= 1.5
            elif change == 2:
                del points[-2]
            elif change == 3:
                points = [dict(point) for point in points]
            found = await detect_divergences(rsi, points, data)
            swings = await classify_swing_points(points, data)
            answers.append((list(found), list(swings)))
            plain = list(points)
            if found != await detect_divergences(list(rsi), plain, data):
                print("divergences differ", change)
            if swings != await classify_swing_points(plain, data):
                print("labels differ", change)
        print(answers[0] == answers[3], answers[0] == answers[1], answers[0] == answers[2])
        """,
        walk(250),
    )

    assert result.printed == "True False False\n"
