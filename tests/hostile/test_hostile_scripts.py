"""Every script of the corpus in a real worker: it harms nobody, the next one is as good as new."""

from __future__ import annotations

import asyncio
import sys
import unicodedata
from pathlib import Path

import pytest

from milo.errors import ScriptError
from milo.script.protocol import Fault, Result
from script_executor import ScriptExecutor, check_script
from tests.hostile.corpus import CANARY, Case, families
from tests.hostile.worker_runs import (
    AT_ONCE,
    BUDGET_MS,
    GOOD,
    SECRET,
    SECRET_NAME,
    Observed,
    engine_watched,
    evaluated_in,
    good_in,
    load_in,
    request,
    run_case,
    run_in,
    started_worker,
)
from tests.plain_python import benign_scripts, printed_by_cpython

FAMILIES = families()
ENGINE_TOO = {"leaks", "lies", "output", "results", "swallowing"}
LATEST_S = 20.0
"""Far above budget and grace: what is slower was not ended at all."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_the_corpus_is_as_large_as_it_should_be() -> None:
    names = [case.name for cases in FAMILIES.values() for case in cases]

    assert len(names) >= 600
    assert len(FAMILIES) >= 12
    for family, cases in FAMILIES.items():
        assert len({case.name for case in cases}) == len(cases), family


@pytest.mark.parametrize("family", FAMILIES)
async def test_script_is_refused_and_its_reader_stays_whole(family: str, tmp_path: Path) -> None:
    """All refused texts of a family go through one worker, and a good one after them."""
    cases = [case for case in FAMILIES[family] if case.kind == "refused"]
    wrong = []
    async with engine_watched(tmp_path), started_worker() as worker:
        expected = await good_in(worker)
        for case in cases:
            reply = await load_in(worker, case.text)
            if not _is_refusal(case, reply):
                wrong.append((case.name, case.words, reply))
        assert await good_in(worker) == expected

    assert wrong == []


def _is_refusal(case: Case, reply: object) -> bool:
    return (
        isinstance(reply, Fault)
        and reply.kind == "script"
        and case.says(reply.message)
        and SECRET not in reply.message
        and is_clean(reply.message)
    )


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - ENGINE_TOO))
async def test_scripts_in_one_process_leave_nothing_to_the_next(
    family: str, tmp_path: Path
) -> None:
    """Stricter than in use, where none shares its process: all in one, a good one after each."""
    cases = [case for case in FAMILIES[family] if case.kind in ("error", "gives")]
    wrong = []
    async with engine_watched(tmp_path), started_worker() as worker:
        expected = await good_in(worker)
        for case in cases:
            text = case.text.replace(CANARY.encode(), str(tmp_path / "canary").encode())
            loaded = await load_in(worker, text)
            if isinstance(loaded, Fault):
                wrong.append((case.name, loaded.message))
                continue
            first, second = await evaluated_in(worker), await evaluated_in(worker)
            if not _is_as_told(case, first):
                wrong.append((case.name, case.words, first))
            if _gist(first) != _gist(second):
                wrong.append((case.name, "the second time", second))
            if await good_in(worker) != expected:
                wrong.append((case.name, "the good script after it gave something else"))

    assert wrong == []


def _is_as_told(case: Case, reply: Result | Fault) -> bool:
    shown = reply.printed + (reply.message if isinstance(reply, Fault) else "".join(reply.marks))
    if SECRET in shown or not is_clean(shown):
        return False
    if isinstance(reply, Fault):
        return case.kind == "error" and reply.kind == "script" and case.says(reply.message)
    return case.kind == "gives" and "|".join(reply.printed.splitlines()) == case.words


def _gist(reply: Result | Fault) -> object:
    """What must be the same each time; where the stack ended is not."""
    return (reply.kind, reply.line, reply.printed) if isinstance(reply, Fault) else reply


@pytest.mark.parametrize("family", FAMILIES)
async def test_script_that_runs_harms_nobody(family: str, tmp_path: Path) -> None:
    """Each script in a worker of its own, as in use: those that overrun a budget, and whole
    families where the engine's side of an answer matters."""
    cases = [
        case
        for case in FAMILIES[family]
        if case.kind == "breach" or (family in ENGINE_TOO and case.kind != "refused")
    ]
    if not cases:
        return
    wrong: list[str] = []
    async with engine_watched(tmp_path):
        good_path = tmp_path / "good.script"
        good_path.write_text(GOOD, encoding="utf-8")
        good = ScriptExecutor(good_path)
        try:
            await good.start()
            expected = await good.evaluate(request())
            assert good._keeper.worker is not None
            expected_after = await good_in(good._keeper.worker.process)
        finally:
            await good.close()
        good = ScriptExecutor(good_path)
        try:
            await good.start()
            gate, turn = asyncio.Semaphore(AT_ONCE), asyncio.Lock()

            async def judged(case: Case) -> list[str]:
                async with gate:
                    seen = await run_case(case, tmp_path, good, turn)
                said = complaints(seen)
                for beside in seen.good_beside:
                    if _decision(beside) != _decision(expected):
                        said.append(f"the good script beside it gave {beside}")
                if seen.good_after is not None and seen.good_after != expected_after:
                    said.append(f"the good script after it gave {seen.good_after}")
                return [f"{case.name}: {text}" for text in said]

            for said in await asyncio.gather(*(judged(case) for case in cases)):
                wrong += said
        finally:
            await good.close()
            good_path.unlink()

    assert wrong == []


async def test_benign_script_prints_in_the_worker_what_cpython_prints() -> None:
    wrong = []
    async with started_worker() as worker:
        for name, text in benign_scripts().items():
            reply = await run_in(worker, text.encode())
            if reply.printed != await asyncio.to_thread(printed_by_cpython, text):
                wrong.append((name, reply.printed))

    assert wrong == []


@pytest.mark.parametrize(
    "name",
    [
        "a\x1b[2J.script",
        "a\n2026-01-01 INFO order_filled.script",
        "a\u202etpircs.script",
        "a\udcff",
    ],
)
async def test_file_whose_name_would_forge_a_line_is_shown_cleaned(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_text(GOOD, encoding="utf-8")
    bad = tmp_path / f"bad {name}"
    bad.write_text("import os", encoding="utf-8")

    header = await check_script(path)
    with pytest.raises(ScriptError) as caught:
        await check_script(bad)

    for shown in (header.name, caught.value.script, str(caught.value).split(":")[0]):
        assert is_clean(shown)
        assert "\n" not in shown


async def test_sets_of_texts_are_in_the_same_order_in_every_worker() -> None:
    text = b"print(*{w for w in 'one two three four five six seven eight nine ten'.split()})"
    printed = set()
    for _ in range(3):
        async with started_worker() as worker:
            printed.add((await run_in(worker, text)).printed)

    assert len(printed) == 1


def _decision(result: object) -> tuple[object, ...]:
    return tuple(
        getattr(result, name) for name in ("condition", "action", "prints", "plots", "marks")
    )


def complaints(seen: Observed) -> list[str]:
    """Return what is not as the case says, and what must hold for every case."""
    said = []
    if SECRET in seen.shown() or SECRET_NAME in seen.shown():
        said.append("a secret came back")
    if not is_clean(seen.shown()):
        said.append(f"text that is not clean came back: {seen.shown()[:300]!a}")
    if seen.took_s > LATEST_S:
        said.append(f"took {seen.took_s:.1f} s, with a budget of {BUDGET_MS} ms")
    if seen.header_error is not None:
        return [*said, f"was refused: {seen.header_error}"]
    first, case = seen.results[0], seen.case
    if len(seen.results) > 1 and _telling(first) != _telling(seen.results[1]):
        said.append(f"gave {seen.results[1]} the second time, after {first}")
    match case.kind:
        case "gives":
            printed = "|".join(getattr(first, "prints", ()))
            if isinstance(first, ScriptError) or printed != case.words:
                said.append(f"gave {printed!a} {first}")
        case "gives-much":
            if isinstance(first, ScriptError) or not first.prints[0].startswith(case.words):
                said.append(f"gave {first}")
            elif "were dropped" not in "".join(first.warnings):
                said.append(f"warned {first.warnings}")
        case "error" | "breach":
            if not isinstance(first, ScriptError):
                said.append(f"was no error: {first}")
            elif first.breach != (case.kind == "breach") or not case.says(str(first)):
                said.append(f"said {first} (breach: {first.breach})")
    return said


def _telling(result: object) -> object:
    if isinstance(result, ScriptError):
        # Where the stack ended is not the same each time.
        return result.line, result.prints, result.breach
    return _decision(result)


def is_clean(text: str) -> bool:
    """Say whether a text holds nothing that steers a display, and no address of an object."""
    piled = 0
    for character in text:
        category = unicodedata.category(character)
        if category in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") and character not in "\n\u200d":
            return False
        piled = piled + 1 if category in ("Mn", "Me") or character == "\u200d" else 0
        if piled > 8:
            return False
    return " at 0x7f" not in text and " at 0x5" not in text
