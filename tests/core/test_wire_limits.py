"""Rate limits: never above a cap in any window, and always room for what protects."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milo.wire.limits import (
    DEFAULT_LIMITS,
    FUNDING_LIMIT,
    Cost,
    Lane,
    Limit,
    LimitKind,
    RateBudget,
)

SMALL = (
    Limit(kind=LimitKind.WEIGHT, window_s=60, cap=100),
    Limit(kind=LimitKind.ORDERS, window_s=10, cap=20),
    Limit(kind=LimitKind.ORDERS, window_s=60, cap=50),
)
ONE = Cost(weight=1)
ORDER = Cost(orders=1)

attempts = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=15),
        st.sampled_from([Cost(weight=1), Cost(weight=10), Cost(weight=40), ORDER]),
        st.sampled_from(list(Lane)),
    ),
    max_size=120,
)


def taken(budget: RateBudget, steps: list[tuple[float, Cost, Lane]]) -> list[tuple[float, Cost]]:
    """Try each request after its pause; return those that went, with their times."""
    now_s = 1_000.0
    went = []
    for pause_s, cost, lane in steps:
        now_s += pause_s
        if budget.take(cost, lane, now_s) == 0.0:
            went.append((now_s, cost))
    return went


@given(attempts)
@settings(deadline=None)
def test_no_window_of_any_alignment_holds_more_than_the_cap(
    steps: list[tuple[float, Cost, Lane]],
) -> None:
    went = taken(RateBudget(SMALL), steps)

    for limit in SMALL:
        for start_s, _ in went:
            spent = sum(
                cost.of(limit.kind)
                for at_s, cost in went
                if start_s <= at_s and not start_s + limit.window_s <= at_s
            )
            assert spent <= limit.cap


@given(attempts)
@settings(deadline=None)
def test_however_much_normal_requests_ask_a_protective_one_goes_at_once(
    steps: list[tuple[float, Cost, Lane]],
) -> None:
    budget = RateBudget(SMALL)
    taken(budget, [(pause_s, cost, Lane.NORMAL) for pause_s, cost, _ in steps])
    now_s = 1_000.0 + sum(pause_s for pause_s, _, _ in steps)

    assert budget.wait_s(Cost(weight=1, orders=1), Lane.PROTECTIVE, now_s) == 0.0


@given(attempts, st.sampled_from(list(Lane)))
@settings(deadline=None)
def test_after_the_wait_that_was_named_the_request_goes(
    steps: list[tuple[float, Cost, Lane]], lane: Lane
) -> None:
    budget = RateBudget(SMALL)
    taken(budget, steps)
    now_s = 1_000.0 + sum(pause_s for pause_s, _, _ in steps)
    cost = Cost(weight=40, orders=1)

    wait_s = budget.wait_s(cost, lane, now_s)

    # Times are sums of floats: the last bit of a minute may be one too many.
    assert 0 <= wait_s <= 60 + 1e-6
    assert budget.take(cost, lane, now_s + wait_s + 1e-6) == 0.0


def test_normal_requests_stop_at_their_share_and_go_on_when_the_window_has_passed() -> None:
    budget = RateBudget(SMALL)

    went = [budget.take(ONE, Lane.NORMAL, 5.0) for _ in range(81)]

    assert went[:80] == [0.0] * 80
    assert went[80] == 60.0
    assert budget.take(ONE, Lane.NORMAL, 65.0) == 0.0


def test_each_order_counts_in_both_order_windows() -> None:
    budget = RateBudget(SMALL)

    budget.take(ORDER, Lane.NORMAL, 0.0)

    assert budget.used(LimitKind.ORDERS, 10, 9.0) == 1
    assert budget.used(LimitKind.ORDERS, 10, 10.0) == 0
    assert budget.used(LimitKind.ORDERS, 60, 10.0) == 1
    assert budget.used(LimitKind.WEIGHT, 60, 10.0) == 0


def test_the_venues_higher_count_is_booked_and_its_lower_one_is_not_believed() -> None:
    budget = RateBudget(SMALL)
    budget.take(Cost(weight=10), Lane.NORMAL, 0.0)

    budget.correct({"X-MBX-USED-WEIGHT-1M": "75"}, 1.0)
    budget.correct({"X-MBX-USED-WEIGHT-1M": "12"}, 2.0)

    assert budget.used(LimitKind.WEIGHT, 60, 2.0) == 75
    assert budget.take(Cost(weight=10), Lane.NORMAL, 2.0) > 0.0
    assert budget.used(LimitKind.WEIGHT, 60, 61.0) == 0


def test_order_count_headers_correct_the_bucket_of_their_window() -> None:
    budget = RateBudget(SMALL)

    budget.correct({"X-MBX-ORDER-COUNT-10S": "7", "X-MBX-ORDER-COUNT-1M": "9"}, 0.0)

    assert budget.used(LimitKind.ORDERS, 10, 0.0) == 7
    assert budget.used(LimitKind.ORDERS, 60, 0.0) == 9


@pytest.mark.parametrize("value", ["", "-5", "many", "1.5"])
def test_a_header_that_is_no_count_changes_nothing(value: str) -> None:
    budget = RateBudget(SMALL)

    budget.correct({"X-MBX-USED-WEIGHT-1M": value}, 0.0)

    assert budget.used(LimitKind.WEIGHT, 60, 0.0) == 0


def test_learned_caps_replace_known_ones_and_keep_what_was_spent() -> None:
    budget = RateBudget()
    budget.take(Cost(weight=100), Lane.NORMAL, 0.0)

    budget.learn([Limit(kind=LimitKind.WEIGHT, window_s=60, cap=6000)])

    assert budget.used(LimitKind.WEIGHT, 60, 0.0) == 100
    assert {(limit.kind, limit.window_s, limit.cap) for limit in budget.limits} == {
        (LimitKind.WEIGHT, 60, 6000),
        (LimitKind.ORDERS, 60, 1200),
        (LimitKind.ORDERS, 10, 300),
        (LimitKind.FUNDING, 300, 500),
    }


def test_a_limit_that_is_new_gets_its_own_bucket() -> None:
    budget = RateBudget(SMALL)

    budget.learn([Limit(kind=LimitKind.REQUESTS, window_s=300, cap=2)])

    assert budget.take(ONE, Lane.NORMAL, 0.0) == 0.0
    assert budget.take(ONE, Lane.NORMAL, 0.0) == pytest.approx(300.0)


def test_funding_pages_draw_from_their_own_pool() -> None:
    budget = RateBudget()

    waits = [budget.take(Cost(funding=1), Lane.NORMAL, 0.0) for _ in range(401)]

    assert waits[:400] == [0.0] * 400
    assert waits[400] == FUNDING_LIMIT.window_s
    assert budget.take(ONE, Lane.NORMAL, 0.0) == 0.0


def test_a_request_heavier_than_its_share_waits_for_an_empty_bucket_only() -> None:
    budget = RateBudget([Limit(kind=LimitKind.WEIGHT, window_s=60, cap=10)])
    budget.take(ONE, Lane.NORMAL, 0.0)

    assert budget.take(Cost(weight=20), Lane.NORMAL, 30.0) == 30.0
    assert budget.take(Cost(weight=20), Lane.NORMAL, 60.0) == 0.0


def test_a_pause_holds_normal_requests_and_lets_protective_ones_through() -> None:
    budget = RateBudget()

    pause_s = budget.pause(now_s=0.0, wait_s=30.0)

    assert pause_s == 30.0
    assert budget.wait_s(ONE, Lane.NORMAL, 10.0) == 20.0
    assert budget.wait_s(ORDER, Lane.PROTECTIVE, 10.0) == 0.0
    assert budget.wait_s(ONE, Lane.NORMAL, 30.0) == 0.0


def test_rejections_without_a_named_wait_back_off_exponentially_up_to_a_minute() -> None:
    budget = RateBudget()
    pauses = []
    now_s = 0.0
    for _ in range(6):
        pauses.append(budget.pause(now_s=now_s, wait_s=None))
        now_s += pauses[-1]

    assert pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_a_ban_without_a_named_end_backs_off_from_two_minutes() -> None:
    budget = RateBudget()

    first_s = budget.pause(now_s=0.0, wait_s=None, is_ban=True)
    second_s = budget.pause(now_s=first_s, wait_s=None, is_ban=True)

    assert (first_s, second_s) == (120.0, 240.0)


def test_answers_that_were_under_way_when_the_pause_began_do_not_lengthen_it() -> None:
    budget = RateBudget()

    budget.pause(now_s=0.0, wait_s=None)
    again_s = budget.pause(now_s=1.0, wait_s=None)

    assert again_s == 4.0
    assert budget.pause(now_s=5.0, wait_s=None) == 10.0


def test_a_longer_named_wait_extends_a_pause_and_a_shorter_one_does_not_shorten_it() -> None:
    budget = RateBudget()

    budget.pause(now_s=0.0, wait_s=30.0)

    assert budget.pause(now_s=1.0, wait_s=60.0) == 60.0
    assert budget.pause(now_s=2.0, wait_s=1.0) == 59.0


def test_the_back_off_starts_anew_after_an_answer_beyond_the_pause() -> None:
    budget = RateBudget()
    budget.pause(now_s=0.0, wait_s=None)
    budget.settle(1.0)
    budget.pause(now_s=5.0, wait_s=None)

    budget.settle(15.0)

    assert budget.pause(now_s=20.0, wait_s=None) == 5.0


def test_an_order_pause_holds_entries_but_no_reads() -> None:
    budget = RateBudget()

    budget.pause_orders(now_s=0.0, wait_s=10.0)

    assert budget.wait_s(ORDER, Lane.NORMAL, 4.0) == 6.0
    assert budget.wait_s(ONE, Lane.NORMAL, 4.0) == 0.0
    assert budget.wait_s(ORDER, Lane.PROTECTIVE, 4.0) == 0.0


def test_windows_stretch_with_the_scale() -> None:
    budget = RateBudget(SMALL, scale=0.5)

    budget.take(ORDER, Lane.NORMAL, 0.0)

    assert budget.used(LimitKind.ORDERS, 10, 4.9) == 1
    assert budget.used(LimitKind.ORDERS, 10, 5.0) == 0


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_leaves_nothing_to_either_lane_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        RateBudget(normal_share=share)


def test_header_names_follow_the_window() -> None:
    headers = [limit.header for limit in DEFAULT_LIMITS]

    assert headers == [
        "X-MBX-USED-WEIGHT-1M",
        "X-MBX-ORDER-COUNT-1M",
        "X-MBX-ORDER-COUNT-10S",
        None,
    ]
