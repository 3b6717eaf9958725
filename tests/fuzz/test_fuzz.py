"""A short fuzz run with a fixed seed: the same programs and frames each time, and no find."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.mutations import Calls, Mutations
from tests.fuzz.programs import Programs


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory")
def test_random_scripts_and_frames_find_nothing(project_dir: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.fuzz", "--seed", "1", "--scripts", "400", "--frames", "40",
            "--seconds", "300",
        ],
        cwd=project_dir, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    counts = {name: int(count) for name, count in re.findall(r"([a-z ]+?) (\d+)", done.stdout)}
    counts = {name.strip(): count for name, count in counts.items()}
    assert counts["same output"] > 100
    assert counts["same error"] > 10
    assert counts["script"] > 50
    assert counts["plans"] == 40
    assert counts["results"] > 0
    assert done.stderr == ""


@pytest.mark.parametrize("maker", [Programs, Mutations, Calls])
def test_a_seed_gives_the_same_programs_for_ever(
    maker: type[Programs] | type[Mutations] | type[Calls],
) -> None:
    first, second, other = (maker(random.Random(seed)) for seed in (7, 7, 8))

    made = [first.program() for _ in range(5)]

    assert made == [second.program() for _ in range(5)]
    assert made != [other.program() for _ in range(5)]
