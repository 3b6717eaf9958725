"""What a script may use up: its text, its time, its memory, its output (layer 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_TEXT_BYTES: Final = 64 * 1024
MAX_BRACKET_DEPTH: Final = 50
MAX_NODES: Final = 20_000
MAX_TREE_DEPTH: Final = 60
MAX_INT_LITERAL_BITS: Final = 128
MAX_STRING_LITERAL: Final = 4096

MAX_INT_BITS: Final = 131_072
"""Largest whole number that a script may compute."""
MAX_SEQUENCE: Final = 4_000_000
"""Most items (or characters) that one operation may make."""
MAX_FORMAT_WIDTH: Final = 9_999
MAX_COMBINATORIAL: Final = 5_000
"""Largest argument of factorial, comb and perm."""

MAX_PRINT_BYTES: Final = 16 * 1024
MAX_PRINT_LINES: Final = 1000
"""Each line costs the engine the time to show it."""
MAX_PLOTS: Final = 32
MAX_MARKS: Final = 16
MAX_LABEL: Final = 64
MAX_MARK: Final = 200
MAX_MARK_BYTES: Final = 400
"""Of UTF-8, so that the largest answer of an evaluation fits into one frame."""
MAX_ACTION: Final = 200
MAX_MESSAGE: Final = 500
MAX_WARNINGS: Final = 20
MAX_INPUTS: Final = 64
MAX_CHANGES: Final = 3072
"""Most places at which an action changes, in one answer about many candles."""
MAX_TEXTS: Final = 256
MAX_TEXT_TABLE_BYTES: Final = 16 * 1024
"""Of the different actions of such an answer, in UTF-8."""
MAX_ERRORS: Final = 4
"""Errors that such an answer tells in full."""
MAX_STEPS: Final = 400
"""Lines of the explanation of one candle."""
MAX_STEP_TEXT: Final = 160
MAX_STEP_VALUE: Final = 160
MAX_STEP_DEPTH: Final = 12
MAX_STEPS_BYTES: Final = 48 * 1024
"""Of such an explanation, as it is sent."""
LARGEST_INPUT: Final = 1e15


_ORDINARY_HISTORY: Final = 50_000
_CANDLES_A_MS: Final = 1000
_BYTES_A_CANDLE: Final = 8 * (6 + 1 + 40)
"""Six columns, a place for its object, and forty columns of indicators and what is between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLimits:
    """Budgets of one script's worker; the engine holds them from outside with SIGKILL.

    CPU time counts, not wall time, so that a busy computer does not fail an honest script. The
    wall limit, `wall_factor` times the CPU limit and at least `wall_floor_s`, is for a worker that
    stands still.
    """

    start_wall_s: float = 20.0
    """From fork to a worker that is ready; generous, because it is our own code."""
    load_cpu_ms: int = 2_000
    first_cpu_ms: int = 5_000
    """The first evaluation, and the only one of a script that runs once."""
    cpu_ms: int = 250
    """Each later evaluation."""
    slice_ms: int = 100
    """Many candles decided in one go: CPU time after which the worker says how far it is."""
    wall_factor: float = 4.0
    wall_floor_s: float = 3.0
    memory_mb: int = 256
    """Above what the worker needs for itself."""
    awaits: int = 200_000
    recursion: int = 400
    run_output_bytes: int = 1024 * 1024
    """Printed text within 24 hours of a run; what is over is dropped and counted."""

    def memory_for(self, candles: int) -> int:
        """Return the worker's memory in MB for a history of so many candles.

        Beyond what anybody runs live it grows by what their columns and those of indicators need.
        """
        if candles <= _ORDINARY_HISTORY:
            return self.memory_mb
        return self.memory_mb + candles * _BYTES_A_CANDLE // 2**20

    def more_ms_for(self, candles: int) -> int:
        """Return the CPU ms that a worker may need besides to begin with so many candles.

        On the first that it decides it computes indicators for all of them.
        """
        return max(0, candles - _ORDINARY_HISTORY) // _CANDLES_A_MS
