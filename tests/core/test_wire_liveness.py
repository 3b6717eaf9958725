"""The watch over a connection: silence, pings, age."""

from __future__ import annotations

import pytest

from milo.wire.liveness import Health, Liveness


def watch(*, is_market: bool, silence_s: float | None = 30.0) -> Liveness:
    return Liveness(is_market=is_market, silence_s=silence_s, lifetime_s=1_000.0, now_s=0.0)


def verdict(liveness: Liveness, now_s: float, *, is_clock_still: bool = False) -> Health:
    return liveness.verdict(now_s, is_clock_still=is_clock_still)


def test_a_market_stream_without_text_is_silent_although_it_pings() -> None:
    liveness = watch(is_market=True)
    liveness.heard(10.0, is_text=True)
    liveness.heard(35.0, is_text=False)

    assert verdict(liveness, 39.9) is Health.FINE
    assert verdict(liveness, 40.0) is Health.SILENT


def test_a_user_stream_may_be_quiet_as_long_as_it_answers() -> None:
    liveness = watch(is_market=False)

    assert verdict(liveness, 29.0) is Health.FINE
    assert verdict(liveness, 30.0) is Health.QUIET
    assert verdict(liveness, 31.0) is Health.FINE
    liveness.heard(32.0, is_text=False)
    assert verdict(liveness, 60.0) is Health.FINE
    assert verdict(liveness, 62.0) is Health.QUIET


def test_a_user_stream_that_answers_no_ping_is_silent() -> None:
    liveness = watch(is_market=False)

    assert verdict(liveness, 30.0) is Health.QUIET
    assert verdict(liveness, 59.9) is Health.FINE
    assert verdict(liveness, 60.0) is Health.SILENT


@pytest.mark.parametrize("is_market", [True, False])
def test_silence_means_nothing_while_the_venues_clock_stands_still(is_market: bool) -> None:
    liveness = watch(is_market=is_market)

    assert verdict(liveness, 900.0, is_clock_still=True) is Health.FINE


@pytest.mark.parametrize("is_market", [True, False])
def test_without_a_limit_silence_is_not_watched(is_market: bool) -> None:
    assert verdict(watch(is_market=is_market, silence_s=None), 900.0) is Health.FINE


@pytest.mark.parametrize("is_market", [True, False])
def test_a_connection_is_renewed_at_the_end_of_its_life(is_market: bool) -> None:
    liveness = watch(is_market=is_market)
    liveness.heard(999.0, is_text=True)

    assert verdict(liveness, 999.9) is Health.FINE
    assert verdict(liveness, 1_000.0) is Health.OLD


def test_checks_come_often_enough_to_see_silence_in_time_but_not_with_every_frame() -> None:
    liveness = watch(is_market=True, silence_s=2.0)

    assert liveness.check_every_s == 0.5
    assert watch(is_market=True).check_every_s == 1.0
    assert [liveness.is_due(now_s) for now_s in (0.0, 0.1, 0.4, 0.5, 0.6)] == [
        True,
        False,
        False,
        True,
        False,
    ]
