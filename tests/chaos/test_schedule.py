"""The plans of chaos runs: repeatable, and rich enough to prove something."""

from __future__ import annotations

from collections import Counter

from tests.chaos.schedule import (
    FAULT_NAMES,
    FAULTS_END_MS,
    LAST_KILL_MS,
    STEPS,
    plan_run,
)

PLANS = [plan_run(1, number) for number in range(1, 201)]


def test_the_same_seed_and_number_give_the_same_plan() -> None:
    assert [plan_run(1, number) for number in range(1, 201)] == PLANS
    assert plan_run(2, 1) != plan_run(1, 1)


def test_two_hundred_runs_hold_over_a_thousand_faults_of_every_name() -> None:
    names = Counter(str(fault["name"]) for plan in PLANS for fault in plan.faults)

    assert names.total() >= 1_200
    assert min(names[name] for name in FAULT_NAMES) >= 20


def test_two_hundred_runs_hold_over_260_kills_at_every_step() -> None:
    kills = [kill for plan in PLANS for kill in plan.kills]
    steps = Counter(kill.step for kill in kills if kill.step is not None)

    assert len(kills) >= 260
    assert set(steps) == set(STEPS)
    assert {kill.who for kill in kills} == {"engine", "guard", "both"}


def test_the_last_seconds_of_a_run_are_quiet() -> None:
    for plan in PLANS:
        assert all(fault["at_ms"] + fault["for_ms"] <= FAULTS_END_MS for fault in plan.faults)
        assert all(kill.at_ms <= LAST_KILL_MS for kill in plan.kills)
        assert [kill.at_ms for kill in plan.kills] == sorted(kill.at_ms for kill in plan.kills)
