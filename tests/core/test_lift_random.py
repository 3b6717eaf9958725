"""Random scripts over arrays: each candle is the runner's, or left to it."""

from __future__ import annotations

import random

import pytest

from milo.script import lift as lift_module
from milo.script.lift import NotLiftable
from tests.lifting import by_runner, columns, differences, lift
from tests.script_grammar import Grammar

CANDLES = 40
GROUPS = 12
SCRIPTS = 16


@pytest.mark.parametrize("group", range(GROUPS))
def test_random_scripts_are_lifted_as_the_runner_runs_them(
    group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several blocks, so that the seams between them are crossed too.
    monkeypatch.setattr(lift_module, "BLOCK", 17 if group % 2 else 1000)
    lifted_scripts = sure = 0
    for number in range(SCRIPTS):
        seed = group * 1000 + number
        rng = random.Random(seed)
        text = Grammar(rng).script()
        parts = columns(CANDLES, seed, hostile=seed % 3 != 0)
        first = rng.choice([0, 0, 3, 11])
        inputs = {"p": 7} if seed % 5 == 0 else {}
        try:
            lifted = lift(text, parts, inputs, first)
        except NotLiftable:
            continue

        wrong = differences(lifted, by_runner(text, parts, inputs), first)

        assert not wrong, f"seed {seed}: {wrong[:3]}\n{text}"
        lifted_scripts += 1
        sure += int((~lifted.doubtful).sum())

    assert lifted_scripts > SCRIPTS * 0.8
    assert sure > lifted_scripts * CANDLES * 0.15
