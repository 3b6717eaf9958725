"""The doctor's check of the locks: a real worker with a script, and one that tries to leave."""

from __future__ import annotations

from milo.cli.findings import Finding, fail, ok, warn
from milo.clock import monotonic_s
from milo.model import Isolation
from milo.ops.hardening import is_hardened
from milo.script.limits import ScriptLimits
from milo.script.protocol import Loaded, LoadOptions, Ready, Result, evaluate_frame, load_frame
from milo.script.worker.backend import backend_of
from milo.script.worker.process import Budget, WorkerFailure, WorkerProcess

_NAME = "isolation"
_SCRIPT = b"condition_true = sum(range(10)) == 45"
_LIMITS = ScriptLimits()
_BUDGET = Budget(cpu_ms=None, wall_s=_LIMITS.start_wall_s)
_SOFT_MS = 1000
_OPTIONS = LoadOptions(name="doctor", max_awaits=1, recursion=100)
_REFUSED = "scripts are refused here: allow seccomp filters, or give --trust-script for your own"
_TRUSTED = "run only scripts that you have read"
_OURS = "please report this: scripts may not be safe here"


async def check_isolation(*, is_trusted: bool) -> Finding:
    """Return whether scripts are locked in on this computer, as a started worker proves."""
    started_s = monotonic_s()
    try:
        isolation = await _script_in_worker()
        took_ms = (monotonic_s() - started_s) * 1000
        ending = await _trial() if isolation.is_isolated else ""
    except (WorkerFailure, OSError) as error:
        return fail(_NAME, f"no worker: {error}", "run 'make venv' again")
    if not isolation.is_isolated:
        if is_trusted:
            return warn(_NAME, isolation.line, _TRUSTED)
        return fail(_NAME, isolation.line, _REFUSED)
    if ending:
        return fail(_NAME, f"{isolation.line}, yet a locked process {ending}", _OURS)
    seen = f"{isolation.line}; a script ran locked in after {took_ms:.0f} ms"
    if not is_hardened():
        return warn(_NAME, f"{seen}; but this process is open to others of the user", _OURS)
    return ok(_NAME, f"{seen}, a process that asked for a socket was ended")


async def _script_in_worker() -> Isolation:
    """Start a worker, run a script in it, and return how it is locked."""
    process = WorkerProcess(memory_mb=_LIMITS.memory_mb)
    try:
        ready, _ = await process.ask(0, b"", _BUDGET)
        if not isinstance(ready, Ready):
            raise WorkerFailure(getattr(ready, "message", "no sign of life"))
        isolation = backend_of().judge(process.pid, ready.held)
        loaded, _ = await process.ask(1, load_frame(1, _SOFT_MS, _OPTIONS, _SCRIPT), _BUDGET)
        asked = evaluate_frame(2, 0, _SOFT_MS, b"", 0.0, ())
        result, _ = await process.ask(2, asked, _BUDGET)
        if not isinstance(loaded, Loaded) or not isinstance(result, Result) or not result.condition:
            raise WorkerFailure("a script of one line gave no answer")
        return isolation
    finally:
        process.kill("the doctor has seen enough")
        await process.reap()


async def _trial() -> str:
    """Return what a locked process that asks for a socket got; "" where it died of it."""
    process = WorkerProcess(memory_mb=_LIMITS.memory_mb, is_trial=True)
    try:
        reply, _ = await process.ask(0, b"", _BUDGET)
    except WorkerFailure:
        told = await process.reap()
        return "" if "forbidden system call" in told else f"ended otherwise: {told or 'no reason'}"
    finally:
        process.kill("the trial is over")
    await process.reap()
    return "got a socket" if isinstance(reply, Ready) else "asked for a socket and lives"
