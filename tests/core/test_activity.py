"""The counter of work in hand, by which a stepped exchange knows that the engine is idle."""

from __future__ import annotations

import pytest

from milo.activity import Activity


def counted() -> tuple[Activity, list[bool]]:
    activity = Activity()
    calls: list[bool] = []
    activity.when_idle(lambda: calls.append(activity.is_idle))
    return activity, calls


def test_nothing_is_being_done_at_first() -> None:
    assert Activity().is_idle


def test_the_listener_is_told_once_when_the_last_of_several_works_is_done() -> None:
    activity, calls = counted()

    activity.begin()
    activity.begin()
    activity.end()
    calls_before_the_last = list(calls)
    activity.end()

    assert calls_before_the_last == []
    assert calls == [True]


def test_the_listener_is_told_again_after_each_busy_time() -> None:
    activity, calls = counted()

    for _ in range(3):
        with activity.working():
            pass

    assert calls == [True, True, True]


def test_a_block_that_fails_is_counted_out() -> None:
    activity, calls = counted()

    with pytest.raises(ValueError, match="broken"), activity.working():
        raise ValueError("broken")

    assert activity.is_idle
    assert calls == [True]


def test_a_block_counts_as_work_while_it_runs() -> None:
    activity, calls = counted()

    with activity.working(), activity.working():
        was_idle = activity.is_idle

    assert not was_idle
    assert calls == [True]


def test_work_that_a_listener_begins_is_counted() -> None:
    activity = Activity()
    activity.when_idle(activity.begin)

    with activity.working():
        pass

    assert not activity.is_idle


def test_ending_work_that_never_began_is_a_bug_that_shows() -> None:
    with pytest.raises(AssertionError):
        Activity().end()
