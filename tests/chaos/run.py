"""One chaos run: exchange, engine and guard as processes, the plan carried out, the judge asked.

The runner is what an operator's supervisor would be: it starts the engine again whenever it is
gone, and does nothing else for it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from milo.cli.venue import sim_folder
from milo.config import load_config
from tests.chaos.judge import Verdict
from tests.chaos.kept import judge_run
from tests.chaos.ledger import read_lines
from tests.chaos.market import SYMBOL, TIMEFRAME, Cut, write_market
from tests.chaos.processes import (
    ADDRESS_FILE,
    GUARD_FILE,
    POLL_S,
    START_TIMEOUT_S,
    Child,
    Diary,
    is_answering,
    kill_pid,
    read_json,
    sweep,
    wall_ms,
)
from tests.chaos.schedule import BOTH, ENGINE, GUARD, LAST_KILL_MS, RUN_MS, Kill, RunPlan

SPEED = "60"
FINAL_S = 2.0
FINAL_TIMEOUT_S = 15.0
OWN_END_RESTART_MS = 300
"""An engine that ended by itself (the exchange refused its start) is started again after this."""
RESTART_MARGIN_MS = 1_200
"""No engine is started while the exchange is about to restart: it would start one of its own."""
RETURN_MS = RESTART_MARGIN_MS + 2_000
"""So long before that, an engine that dies is back in time."""
STEP_TIME_MS = 3_000
"""An engine gets so long to come to the step at which it is to die."""
INSTANT = "instant"
TERMINATED = (143, -signal.SIGTERM)
"""How the engine ends after SIGTERM: in order, or before it had begun to listen for it."""
RAISED = re.compile(r"^[ |]*[\w.]+(Error|Exception|Group): ")
"""The last line of a traceback."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one run showed."""

    plan: RunPlan
    folder: Path
    verdict: Verdict
    kills: list[tuple[str, str]] = field(default_factory=list)
    """(who, step or `instant`) of every kill -9 that hit."""
    exits: list[str] = field(default_factory=list)
    """Ends of the engine by itself that it could explain: its own error line."""
    crashes: list[str] = field(default_factory=list)
    """Ends that it could not: a traceback, or none within the time."""
    left_processes: int = 0
    seconds: float = 0.0
    stall_ms: float = 0.0
    """The longest time in which the runner itself got no turn: how overloaded the machine was."""
    market: str = ""

    @property
    def is_good(self) -> bool:
        return self.verdict.is_good and not self.crashes


class Run:
    """Carries out a plan in a folder of its own."""

    def __init__(self, plan: RunPlan, folder: Path, *, has_guard: bool = True) -> None:
        self._plan = plan
        self._has_guard = has_guard
        self._folder = folder
        self._diary = Diary(folder / "processes.jsonl")
        self._ledger = folder / "ledger.jsonl"
        self._engine: Child | None = None
        self._engines = 0
        self._engine_ms = 0.0
        """When the newest engine was started, wall ms of the run."""
        self._due_ms = 0.0
        self._guard_pid = 0
        self._kills: list[tuple[str, str]] = []
        self._exits: list[str] = []
        self._crashes: list[str] = []
        self._pending = list(plan.kills)
        self._began_ms = 0.0
        self._stall_ms = 0.0
        self._cut: Cut = write_market(
            folder, window=plan.market, start_row=plan.start_row, seed=plan.seed
        )
        flags = {"market": str(self._cut.path), "data_dir": str(folder / "data")}
        self._venue = sim_folder(load_config(flags, environ={}), SYMBOL)
        self._write_files()

    def _write_files(self) -> None:
        self._venue.mkdir(parents=True)
        schedule = {"seed": self._plan.seed, "faults": list(self._plan.faults)}
        (self._folder / "faults.json").write_text(json.dumps(schedule, indent=1))
        (self._folder / "plan.json").write_text(
            json.dumps(dataclasses.asdict(self._plan), indent=1)
        )
        (self._folder / "chaos.script").write_text(self._plan.script)
        # The last engine is to recover, not to trade: the same script by name, and quiet.
        (self._folder / "quiet").mkdir()
        quiet = f'timeframe = "{TIMEFRAME}"\ncoin = "{SYMBOL}"\ncondition_true = False\n'
        (self._folder / "quiet" / "chaos.script").write_text(quiet)

    # --- the run ------------------------------------------------------------------------------

    def carry_out(self) -> Outcome:
        """Run the plan to its end and judge it; no process is left behind."""
        started_s = time.monotonic()
        result: dict[str, Any] | None = None
        ended_t = 0.0
        try:
            exchange = self._start_exchange()
            try:
                self._chaos()
                result, ended_t = self._recover()
            finally:
                self._let_guard_go()
                code = exchange.end()
                self._diary.note("exchange-ended", code=code)
        finally:
            left = sweep(self._folder)
        verdict = self._judge(result, ended_t)
        return Outcome(
            plan=self._plan,
            folder=self._folder,
            verdict=verdict,
            kills=self._kills,
            exits=self._exits,
            crashes=self._crashes,
            left_processes=left,
            seconds=time.monotonic() - started_s,
            stall_ms=self._stall_ms,
            market=self._cut.title,
        )

    def _start_exchange(self) -> Child:
        exchange = Child(
            [
                "-m", "milo.exchange", "--state-dir", str(self._venue), "--speed", SPEED,
                "--market", str(self._cut.path), "--symbol", SYMBOL, "--timeframe", TIMEFRAME,
                "--start", str(self._cut.start_ms), "--ledger", str(self._ledger),
                "--faults", str(self._folder / "faults.json"), "--restart-on-fault",
            ],
            log=self._folder / "exchange.log",
        )  # fmt: skip
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while read_json(self._venue / ADDRESS_FILE) is None:
            if exchange.poll() is not None or time.monotonic() > deadline_s:
                exchange.kill()
                raise RuntimeError(f"the exchange did not start: see {self._folder}")
            time.sleep(POLL_S)
        self._began_ms = self._due_ms = wall_ms()
        self._diary.note("exchange-started", pid=exchange.pid)
        return exchange

    def _now_ms(self) -> float:
        """Return wall ms since the exchange's first start: the time of faults and kills."""
        return wall_ms() - self._began_ms

    def _chaos(self) -> None:
        while self._now_ms() < RUN_MS:
            self._keep_engine()
            self._watch_guard()
            if self._pending and self._now_ms() >= self._due_of(self._pending[0]):
                self._kill_now(self._pending.pop(0))
            self._rest()
        self._end_engine()

    def _rest(self) -> None:
        before_s = time.monotonic()
        time.sleep(POLL_S)
        late_ms = (time.monotonic() - before_s - POLL_S) * 1000
        self._stall_ms = max(self._stall_ms, late_ms)

    def _keep_engine(self) -> None:
        if self._engine is not None:
            code = self._engine.poll()
            if code is None:
                return
            self._engine_is_gone(code)
        elif wall_ms() >= self._due_ms and self._can_start():
            self._engine = self._start_engine()

    def _can_start(self) -> bool:
        """Whether the exchange answers and will go on to: else an engine would start its own."""
        return not self._is_restart_near(RESTART_MARGIN_MS) and is_answering(self._venue)

    def _is_restart_near(self, margin_ms: float) -> bool:
        now_ms = self._now_ms()
        return any(
            fault["at_ms"] - margin_ms <= now_ms < fault["at_ms"] + fault["down_ms"]
            for fault in self._plan.faults
            if fault["name"] == "restart"
        )

    def _engine_is_gone(self, code: int) -> None:
        self._engine = None
        told = self._told(self._engines)
        kill = self._next_engine_kill()
        if code == -9 and told.is_file() and kill is not None:
            # It died at the step of the plan.
            self._pending.remove(kill)
            step = told.read_text()
            self._note_kill(ENGINE, step)
            self._kill_guard_too(kill, step)
            self._due_ms = wall_ms() + kill.restart_ms
            return
        self._note_end(code, self._log())
        self._due_ms = wall_ms() + OWN_END_RESTART_MS

    def _next_engine_kill(self) -> Kill | None:
        return next((kill for kill in self._pending if kill.who != GUARD), None)

    def _note_end(self, code: int | None, log: Path) -> None:
        """Note an end that nobody asked for, with the process's own last words."""
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        raised = [line for line in lines if RAISED.search(line)]
        words = (errors or raised or lines or ["nothing said"])[-1].strip(" |")[:300]
        is_explained = code is not None and bool(errors)
        (self._exits if is_explained else self._crashes).append(f"exit code {code}: {words}")
        self._diary.note("engine-ended", code=code, words=words)

    def _log(self) -> Path:
        return self._folder / f"engine-{self._engines}.log"

    def _told(self, number: int) -> Path:
        return self._folder / f"died-{number}"

    # --- the engine ---------------------------------------------------------------------------

    def _start_engine(self) -> Child:
        self._engines += 1
        self._engine_ms = self._now_ms()
        arguments = self._milo("chaos.script", "--loop", "live", "--no-chart")
        kill = self._next_engine_kill()
        if kill is not None and kill.step is not None:
            arm_ms = max(0, int(kill.arm_ms - self._now_ms()))
            switch = [
                "-m", "tests.chaos.engine", "--step", kill.step, "--nth", str(kill.nth),
                "--delay-ms", str(kill.delay_ms), "--arm-ms", str(arm_ms),
                "--told", str(self._told(self._engines)), "--",
            ]  # fmt: skip
            child = Child([*switch, *arguments], log=self._log())
        else:
            child = Child(["main.py", *arguments], log=self._log())
        self._diary.note("engine-started", pid=child.pid, step=kill.step if kill else None)
        return child

    def _milo(self, script: str, *more: str) -> list[str]:
        without_guard = () if self._has_guard else ("--no-guard",)
        return [
            "--script", str(self._folder / script), "--market", str(self._cut.path),
            "--symbol", SYMBOL, "--data-dir", str(self._folder / "data"), "--resume",
            "--speed", SPEED, "--history", "100", "-v", *without_guard, *more,
        ]  # fmt: skip

    def _end_engine(self) -> None:
        if self._engine is None:
            return
        code = self._engine.end()
        self._diary.note("engine-stopped", code=code)
        if code not in TERMINATED:
            self._note_end(code, self._log())
        self._engine = None

    def _recover(self) -> tuple[dict[str, Any] | None, float]:
        """Start the engine once more, quiet and without faults; return its summary and end."""
        result_file = self._folder / "result.json"
        arguments = self._milo(
            "quiet/chaos.script", "--loop", "live", "--no-chart", "--json", str(result_file),
            "--seconds", f"{FINAL_S:g}",
        )  # fmt: skip
        self._diary.note("recovery-started")
        child = Child(["main.py", *arguments], log=self._folder / "recovery.log")
        deadline_s = time.monotonic() + FINAL_TIMEOUT_S
        while child.poll() is None and time.monotonic() < deadline_s:
            self._watch_guard()
            self._rest()
        code = child.wait(0.1)
        ended_t = wall_ms()
        self._diary.note("recovery-ended", code=code)
        if code != 0:
            self._note_end(code, self._folder / "recovery.log")
        return (read_json(result_file) if code == 0 else None), ended_t

    # --- kills --------------------------------------------------------------------------------

    def _due_of(self, kill: Kill) -> float:
        """Return when a kill happens at the latest; a step may take an engine some time."""
        if kill.step is None:
            return kill.at_ms
        return min(LAST_KILL_MS, max(kill.at_ms, self._engine_ms + STEP_TIME_MS))

    def _kill_now(self, kill: Kill) -> None:
        if kill.who == GUARD:
            self._kill_guard(INSTANT)
            return
        if self._engine is None:
            # Between two lives: nothing to kill, unless the guard is meant as well.
            self._kill_guard_too(kill, INSTANT)
            return
        self._engine.kill()
        self._engine = None
        self._note_kill(ENGINE, INSTANT)
        self._kill_guard_too(kill, INSTANT)
        self._due_ms = wall_ms() + kill.restart_ms

    def _kill_guard_too(self, kill: Kill, step: str) -> None:
        """Kill the guard where the plan means both, unless no engine could be back in time."""
        if kill.who == BOTH and not self._is_restart_near(RETURN_MS):
            time.sleep(kill.delay_ms / 1000)
            self._kill_guard(step)

    def _kill_guard(self, step: str) -> None:
        address = read_json(self._venue / GUARD_FILE)
        if address is not None and kill_pid(int(address["pid"]), self._folder):
            self._note_kill(GUARD, step)

    def _note_kill(self, who: str, step: str) -> None:
        self._kills.append((who, step))
        self._diary.note("kill", who=who, step=step)

    def _watch_guard(self) -> None:
        address = read_json(self._venue / GUARD_FILE)
        if address is not None and int(address["pid"]) != self._guard_pid:
            self._guard_pid = int(address["pid"])
            self._diary.note("guard-started", pid=self._guard_pid)

    def _let_guard_go(self) -> None:
        """End the guard; it may still watch what the last engine left open."""
        if self._engine is not None:
            self._engine.kill()
        address = read_json(self._venue / GUARD_FILE)
        if address is not None and kill_pid(int(address["pid"]), self._folder):
            self._diary.note("guard-ended")

    # --- the judgement ------------------------------------------------------------------------

    def _judge(self, result: dict[str, Any] | None, ended_t: float) -> Verdict:
        verdict = judge_run(
            read_lines(self._ledger),
            self._diary.lines,
            journal_file=self._venue / "journal.db",
            result=result,
            ended_t=ended_t,
        )
        findings = [dataclasses.asdict(finding) for finding in verdict.findings]
        (self._folder / "findings.json").write_text(json.dumps(findings, indent=1))
        return verdict
