"""Keys of a real venue in a real session: everything that is left is searched for them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from milo.ops.folder_lock import GUARD_LOCK, holder_of
from milo.ops.guard_process import running_guard
from tests.needles import Needles, children_of, files_below, memory_of, of_process
from tests.overhearing_proxy import Mood, OverhearingProxy, overhearing

from .commands import Finished, command_line, environment, milo
from .exchange_process import running

PASSWORD = "Sesam-0effne-d1ch!-7391"
GENEROUS_S = 30.0
KEY_FILE = frozenset({"keys.json"})
SCRIPT = """\
timeframe = "1m"
coin = "{coin}"
condition_true = True
print("looked at", lastclose)
action_if_true = "long(1%risk@2x,sl=20%,rr=3)"
"""


@dataclass
class User:
    """Someone with an account at a venue: what they know, their folder, what they have seen."""

    folder: Path
    proxy: OverhearingProxy
    api_key: str
    api_secret: str
    seen: list[str] = field(default_factory=list)

    @property
    def venue_folder(self) -> Path:
        return self.folder / "data" / self.proxy.url.removeprefix("http://").replace(":", "-")

    def needles(self) -> Needles:
        return Needles(
            {
                "API key": [self.api_key],
                "API secret": [self.api_secret],
                "password": [PASSWORD],
                "key, signature or listen key on the wire": self.proxy.overheard,
            }
        )

    async def milo(self, *arguments: str, password: str | None = PASSWORD) -> Finished:
        """Run a command on the venue; what it says is remembered."""
        env = {} if password is None else {"MILO_KEY_PASSWORD": password}
        done = await asyncio.to_thread(
            milo, self.folder, *arguments, "--exchange", self.proxy.url, env=env
        )
        self.seen += [done.out, done.err]
        return done

    async def store_keys(self, *, api_secret: str | None = None) -> None:
        """Type keys and password, as asked."""
        typed = [self.api_key, api_secret or self.api_secret, PASSWORD, PASSWORD]
        done = await asyncio.to_thread(
            milo, self.folder, "--set-keys", self.proxy.url, text="\n".join([*typed, ""])
        )
        assert done.code == 0, done.err
        self.seen += [done.out, done.err]

    def leaks(self) -> set[str]:
        """Return what of the secrets is in any file or in anything that was shown."""
        needles = self.needles()
        shown = {f"shown: {name}" for name in needles.found_in("\n".join(self.seen).encode())}
        return shown | needles.found_below(self.folder)


@pytest.fixture
async def user(tmp_path: Path) -> AsyncIterator[User]:
    """A user whose exchange is embedded, but reached by its URL, and so counts as a real one."""
    folder = tmp_path / "user"
    folder.mkdir()
    ledger = str(folder / "ledger.jsonl")
    with running(tmp_path / "venue", "--speed", "1", "--ledger", ledger) as exchange:
        async with overhearing(exchange.address["rest_url"]) as proxy:
            user = User(folder, proxy, exchange.address["api_key"], exchange.address["api_secret"])
            yield user
            # One with something left to protect would wait for this venue for ever.
            guard = holder_of(user.venue_folder, GUARD_LOCK)
            if guard is not None:
                os.kill(guard, signal.SIGKILL)


class Session:
    """A running `--script --loop live` with real orders, its output read line by line."""

    def __init__(self, user: User, process: asyncio.subprocess.Process) -> None:
        self.user = user
        self.process = process

    async def until_said(self, text: str) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(GENEROUS_S):
            while line := (await self.process.stdout.readline()).decode():
                self.user.seen.append(line)
                if text in line:
                    return line
        raise AssertionError(f"{text!r} never came: {''.join(self.user.seen)}")

    async def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        async with asyncio.timeout(GENEROUS_S):
            self.user.seen.append((await self.process.stdout.read()).decode())
            return await self.process.wait()


async def started(user: User, coin: str = "BTCUSDT") -> Session:
    (user.folder / "always.script").write_text(SCRIPT.replace("{coin}", coin))
    process = await asyncio.create_subprocess_exec(
        *command_line(user.folder, "--script", "always.script", "--loop", "live", "-v"),
        *("--exchange", user.proxy.url, "--live", "--yes-live", "--port", "0", "--no-browser"),
        *("--json", "run.json"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=user.folder,
        env=environment({"MILO_KEY_PASSWORD": PASSWORD}),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    return Session(user, process)


async def test_a_whole_session_leaves_no_secret_anywhere(user: User) -> None:
    await user.store_keys()
    session = await started(user)
    try:
        chart = (await session.until_said("chart: ")).split()[-1]
        await session.until_said("guard: process")
        await session.until_said("long")
        for path in ("/", "/data", "/data?symbol=nope", "/static/chart.js"):
            user.seen.append(await asyncio.to_thread(fetched, chart + path))
        look_into_processes(user, session.process.pid)
        for mood in (Mood.PAGE, Mood.SUCCESS, Mood.CUT, Mood.GARBAGE):
            user.proxy.mood, user.proxy.misbehaved = mood, 0
            kill_guard(user)
            await session.until_said("the guard is lost")
            await session.until_said("guard_started")
            # Now the engine reads the account again: the guard may have acted.
            async with asyncio.timeout(GENEROUS_S):
                while not user.proxy.misbehaved:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            user.proxy.mood = Mood.HONEST
        look_into_processes(user, session.process.pid)
        code = await session.end()
    finally:
        if session.process.returncode is None:
            session.process.kill()
    shown = "".join(user.seen)

    assert code == 130
    assert user.leaks() == set()
    assert "confirmed" in shown
    assert "Internal error" in shown or "unreadable" in shown or "connection broke" in shown
    names = {path.name for path in files_below(user.folder)}
    assert names >= {"journal.db", "guard.db", "market.db", "guard.log", "run.json", "ledger.jsonl"}


def look_into_processes(user: User, engine: int) -> None:
    """Assert what the session's processes, and who looks into them, can know of the keys."""
    needles = user.needles()
    secret = Needles({"API secret": [user.api_secret]})
    password = Needles({"password": [PASSWORD]})
    family = children_of(engine)
    guards = [pid for pid, command in family.items() if "--guard" in command]
    workers = [pid for pid, command in family.items() if "boot.py" in command]
    assert len(guards) == 1, family
    assert len(workers) >= 1, family
    for pid in (engine, *family):
        for name in ("cmdline", "environ"):
            assert needles.found_in(of_process(pid, name)) == set(), (pid, name)
        assert b"MILO_" not in of_process(pid, "environ").replace(b"MILO_KEY_PASSWORD=****", b"")
    for pid in workers:
        assert of_process(pid, "environ").strip(b"\0") == b"PYTHONHASHSEED=0"
        assert needles.found_in(memory_of(pid) or b"") == set()
    for pid in (engine, *guards):
        # They sign, and yet: what they hold is the keyed hash, not the secret.
        assert secret.found_in(memory_of(pid) or b"") == set()
    assert password.found_in(memory_of(guards[0]) or b"") == set()


def kill_guard(user: User) -> None:
    guard = running_guard(user.venue_folder)
    assert guard is not None
    os.kill(guard.pid, signal.SIGKILL)


def fetched(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=GENEROUS_S) as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        content = error.read()
    return content.decode()


async def test_an_order_that_is_refused_with_the_request_in_the_message_leaves_no_secret(
    user: User,
) -> None:
    await user.store_keys()
    user.proxy.refused_paths = frozenset({"/fapi/v1/order"})
    session = await started(user, "ETHUSDT")
    try:
        line = await session.until_said("Bad: POST")
        code = await session.end()
    finally:
        if session.process.returncode is None:
            session.process.kill()

    assert code == 130
    assert "X-MBX-APIKEY: (hidden)" in line
    assert user.leaks() == set()
    assert b"X-MBX-APIKEY: (hidden)" in b"".join(
        path.read_bytes() for path in files_below(user.folder)
    )


COMMANDS = (
    ("--balance",),
    ("--doctor", "--json", "doctor.json"),
    ("--listopenpositions", "--json", "-"),
    ("--explain", "long(1%risk@2x,sl=2%)", "--symbol", "BTCUSDT"),
    ("--closeallpositions", "--live", "--yes"),
)


@pytest.mark.parametrize("mood", [Mood.HONEST, Mood.PAGE, Mood.REFUSAL, Mood.GARBAGE])
async def test_commands_show_no_secret_whatever_the_venue_answers(user: User, mood: Mood) -> None:
    await user.store_keys()
    user.proxy.mood = mood

    # A failing read is tried four times: not all of the doctor's, twice over.
    is_retried = mood in (Mood.PAGE, Mood.GARBAGE)
    commands = COMMANDS[:1] if is_retried else COMMANDS
    done = [await user.milo(*command, "-v") for command in commands]

    assert all(finished.code == (0 if mood is Mood.HONEST else finished.code) for finished in done)
    assert (user.proxy.misbehaved > 0) == (mood is not Mood.HONEST)
    assert mood is Mood.HONEST or any("Traceback" in finished.err for finished in done)
    assert user.leaks() == set()


async def test_failures_with_keys_show_no_secret(user: User) -> None:
    typo = user.api_secret[:-1] + ("a" if user.api_secret[-1] != "a" else "b")
    await user.store_keys(api_secret=typo)

    refused = await user.milo("--balance", "-v")
    wrong = await user.milo("--balance", "-v", password=PASSWORD + "x")
    shown = await user.milo("--show-config")
    unknown = await user.milo("--balance", "--sybmol", "x", "-v")
    (user.folder / "data" / "keys.json").write_text("{}")
    damaged = await user.milo("--doctor", "-v")

    assert "check the API secret" in refused.err
    assert "wrong password" in wrong.err
    assert "********" in shown.out
    assert unknown.code == 2
    assert damaged.code == 1
    needles = Needles({"typed": [typo, PASSWORD, user.api_key, *user.proxy.overheard]})
    assert needles.found_in("\n".join(user.seen).encode()) == set()
    assert needles.found_below(user.folder) == set()


async def test_a_plaintext_key_file_of_milobot_is_the_only_trace_and_goes(user: User) -> None:
    data = user.folder / "data"
    data.mkdir()
    document = {"api_key": user.api_key, "api_secret": user.api_secret, "password": PASSWORD}
    (data / "keys.json").write_text(json.dumps(document))
    assert user.leaks() != set(), "the search sees what is there"

    await user.milo("--balance", "-v", password=None)

    assert user.leaks() == set()


async def test_everything_that_a_session_writes_is_its_owners_own(user: User) -> None:
    await user.store_keys()
    await user.milo("--balance")
    await user.milo("--doctor")

    shared = stat.S_IRWXG | stat.S_IRWXO
    below = (user.folder / "data").rglob("*")
    modes = {path: path.stat().st_mode for path in [user.folder / "data", *below]}
    assert {path.name for path, mode in modes.items() if mode & shared} == set()
    assert {path.name for path in modes} >= {"data", "keys.json", "market.db", "journal.db"}
    assert stat.S_IMODE(modes[user.folder / "data"]) == 0o700
    assert stat.S_IMODE(modes[user.folder / "data" / "keys.json"]) == 0o600


async def test_on_the_embedded_exchange_no_process_is_told_the_password(tmp_path: Path) -> None:
    (tmp_path / "always.script").write_text(SCRIPT.replace("{coin}", "BTCUSDT"))
    process = await asyncio.create_subprocess_exec(
        *command_line(tmp_path, "--script", "always.script", "--loop", "live", "--no-chart"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        env=environment({"MILO_KEY_PASSWORD": PASSWORD}),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(GENEROUS_S):
            while b"guard: process" not in await process.stdout.readline():
                pass
        needles = Needles({"password": [PASSWORD]})
        family = children_of(process.pid)
        found = {
            (pid, name): needles.found_in(of_process(pid, name))
            for pid in (process.pid, *family)
            for name in ("cmdline", "environ")
        }
        in_memory = {
            command: needles.found_in(memory_of(pid) or b"") for pid, command in family.items()
        }
        process.terminate()
        async with asyncio.timeout(GENEROUS_S):
            await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()

    assert len(family) >= 3, "the exchange, the guard, the script's worker"
    assert any("milo.exchange" in command for command in family.values())
    assert set().union(*found.values()) == set()
    assert set().union(*in_memory.values()) == set()
    assert needles.found_below(tmp_path) == set()
