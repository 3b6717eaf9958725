"""`python -m tests.fuzz --seconds 60 --seed 1`: random scripts and frames; exit 1 on a find."""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from milo.clock import monotonic_s
from tests.fuzz.frames import FrameFuzz
from tests.fuzz.scripts import Finds, ScriptFuzz

_MOST_MEMORY: Final = 3 * 1024**3
"""Programs that ended well in a worker run here as well; none of them can take the machine down."""
_SHOWN: Final = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz, report, and return 0 where nothing was found."""
    options = _parser().parse_args(argv)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    # A random script forgets to await, and writes what Python warns of.
    warnings.simplefilter("ignore")
    share_s = options.seconds / 2
    with tempfile.TemporaryDirectory(prefix="milo-fuzz-") as folder:
        scripts = ScriptFuzz(options.seed)
        asyncio.run(scripts.run(options.scripts, monotonic_s() + share_s))
        frames = FrameFuzz(options.seed, Path(folder))
        asyncio.run(frames.run(options.frames, monotonic_s() + share_s))
    _report("scripts", scripts.finds)
    _report("frames", frames.finds)
    return 1 if scripts.finds.programs or frames.finds.programs else 0


def _report(name: str, finds: Finds) -> None:
    counts = "  ".join(f"{what} {count}" for what, count in sorted(finds.counts.items()))
    print(f"{name}: {counts}  finds {len(finds.programs)}")
    for what, text in finds.programs[:_SHOWN]:
        print(f"\n--- {what}\n{text}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="time for both, at the most")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other programs")
    parser.add_argument("--scripts", type=int, default=None, help="most programs; else as time is")
    parser.add_argument("--frames", type=int, default=None, help="most plans; else as time is")
    return parser


if __name__ == "__main__":
    sys.exit(main())
