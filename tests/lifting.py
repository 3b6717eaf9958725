"""Lifted scripts against the runner: candles to disagree on, and the comparison itself."""

from __future__ import annotations

import random
import textwrap
from dataclasses import dataclass

import numpy as np

from milo.script.faults import ScriptFault
from milo.script.language import check
from milo.script.lift import Lifted, plan_lift
from milo.script.names import INDICATOR_NAMES
from milo.script.runner import Outcome, ScriptRunner
from milo.script.views import CandleBase
from tests.script_runs import HOUR_MS, START_MS, _import_for_compiled_code


def columns(count: int, seed: int, *, hostile: bool = True) -> list[np.ndarray]:
    """Return open, high, low, close, volume of a walk with flat, huge and tiny parts."""
    rng = random.Random(seed)
    price, rows = 100.0, []
    mood = "walk"
    for _ in range(count):
        if hostile and rng.random() < 0.08:
            mood = rng.choice(["walk", "flat", "flat", "huge", "tiny", "rounded", "silent"])
        opened = price
        if mood == "huge":
            price *= rng.choice([1.0, 1e40, 1e-40, 1e5])
        elif mood == "tiny":
            price *= rng.choice([1.0, 1e-30, 1e30, 0.5])
        elif mood == "rounded":
            price = float(max(1, round(min(price, 1e6)) + rng.choice([-1, 0, 1])))
        elif mood != "flat":
            price *= 1 + rng.gauss(0, 0.02)
        if not 1e-200 < price < 1e200:
            price = 100.0
        high = max(opened, price) * (1 if mood == "flat" else 1 + abs(rng.gauss(0, 0.003)))
        low = min(opened, price) * (1 if mood == "flat" else 1 - abs(rng.gauss(0, 0.003)))
        volume = 0.0 if mood == "silent" else rng.choice([0.0, 1.0, rng.uniform(5, 50)])
        rows.append((opened, high, low, price, volume))
    return [np.array(column) for column in zip(*rows, strict=True)]


def base_of(parts: list[np.ndarray], count: int) -> CandleBase:
    """Return the first `count` candles as the worker has them."""
    times = START_MS + HOUR_MS * np.arange(len(parts[0]), dtype=np.int64)
    return CandleBase(times[:count], [part[:count].copy() for part in parts], count)


@dataclass
class Reference:
    """The runner's own outcome on each candle; None where the script failed or warned."""

    outcomes: list[Outcome | None]


def by_runner(text: str, parts: list[np.ndarray], inputs: dict[str, float]) -> Reference:
    """Run a script on each prefix, each with candles and indicators of its own."""
    runner = ScriptRunner(max_awaits=200_000, recursion=400, c_import=_import_for_compiled_code)
    runner.load("my.script", textwrap.dedent(text).encode())
    runner.session.inputs = inputs
    outcomes: list[Outcome | None] = []
    for count in range(1, len(parts[0]) + 1):
        try:
            outcome = runner.evaluate(base_of(parts, count), count, (1000.0, []))
        except ScriptFault:
            outcomes.append(None)
            continue
        outcomes.append(None if outcome.warnings else outcome)
    return Reference(outcomes)


def lift(
    text: str, parts: list[np.ndarray], inputs: dict[str, float] | None = None, first: int = 0
) -> Lifted:
    """Evaluate a script over all candles; raises NotLiftable."""
    script = check(textwrap.dedent(text).encode(), INDICATOR_NAMES)
    return plan_lift(script).run(base_of(parts, len(parts[0])), first, inputs or {})


def action(lifted: Lifted, index: int, is_true: bool) -> str | None:
    """Return the action that was lifted; None where the candle has to be run."""
    text = lifted.if_true if is_true else lifted.if_false
    codes = lifted.true_code if is_true else lifted.false_code
    if text is None and codes is not None and codes[index] >= 0:
        return lifted.texts[int(codes[index])]
    return text


def differences(lifted: Lifted, reference: Reference, first: int = 0) -> list[str]:
    """Return every candle on which arrays and runner disagree."""
    found = []
    for index, outcome in enumerate(reference.outcomes[first:]):
        if lifted.doubtful[index]:
            continue
        if outcome is None:
            found.append(f"candle {index + first}: the script fails, and the arrays do not know it")
            continue
        if bool(lifted.condition[index]) is not outcome.condition:
            found.append(f"candle {index + first}: condition {outcome.condition}")
        for is_true, wanted in ((True, outcome.if_true), (False, outcome.if_false)):
            got = action(lifted, index, is_true)
            if got is not None and got != wanted:
                found.append(f"candle {index + first}: action {got!r}, not {wanted!r}")
    return found


def compared(
    text: str, parts: list[np.ndarray], inputs: dict[str, float] | None = None, first: int = 0
) -> Lifted:
    """Lift a script and assert that every candle that is not doubtful is the runner's."""
    lifted = lift(text, parts, inputs, first)
    wrong = differences(lifted, by_runner(text, parts, inputs or {}), first)
    assert not wrong, text + "\n" + "\n".join(wrong[:5])
    return lifted
