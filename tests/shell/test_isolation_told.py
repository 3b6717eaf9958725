"""What a user is told of the locks, also on a kernel that has none: refused, or unisolated."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.shell.commands import Finished, command_line, environment, milo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locks are Linux's")

WRAPPER = Path(__file__).parent / "without_seccomp.py"
SCRIPT = 'timeframe = "1h"\ncoin = "BTCUSDT"\ncondition_true = True\nprint("it ran")\n'


def without_seccomp(folder: Path, *arguments: str, error: int = errno.EINVAL) -> Finished:
    """Run a command of Milo where the kernel gives no filter of system calls."""
    line = [sys.executable, str(WRAPPER), str(error), *command_line(folder, *arguments)]
    done = subprocess.run(
        line,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        timeout=120,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "my.script"
    path.write_text(SCRIPT)
    return str(path)


# --- where the kernel locks ---------------------------------------------------------------------


def test_a_run_says_that_its_scripts_are_isolated(tmp_path: Path, script: str) -> None:
    result = milo(tmp_path, "--script", script, "--json", str(tmp_path / "run.json"))

    assert result.code == 0, result
    assert "\nscripts: isolated: seccomp, " in result.out
    told = json.loads((tmp_path / "run.json").read_text())["isolation"]
    assert told["my"].startswith("isolated: seccomp, ")


def test_a_check_says_that_the_script_was_read_locked_in(tmp_path: Path, script: str) -> None:
    result = milo(tmp_path, "--check", script)

    assert result.code == 0, result
    assert "isolated: seccomp, " in result.out


def test_the_doctor_proves_the_locks(tmp_path: Path) -> None:
    result = milo(tmp_path, "--doctor", "--json", "-")

    found = {check["check"]: check for check in json.loads(result.out)["checks"]}["isolation"]
    assert found["status"] == "ok"
    assert found["seen"].startswith("isolated: seccomp, ")
    assert "a process that asked for a socket was ended" in found["seen"]


def test_trusting_scripts_opens_no_lock(tmp_path: Path, script: str) -> None:
    result = milo(tmp_path, "--script", script, "--trust-script")

    assert "scripts: isolated: seccomp, " in result.out
    assert "UNISOLATED" not in result.out + result.err


# --- where it does not --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EPERM, errno.ENOSYS])
def test_without_seccomp_a_script_is_refused_with_the_reason_and_what_to_do(
    tmp_path: Path, script: str, error: int
) -> None:
    result = without_seccomp(tmp_path, "--script", script, error=error)

    assert result.code == 2
    assert "it ran" not in result.out
    assert "scripts cannot be locked in here" in result.err
    assert "seccomp" in result.err
    assert "--trust-script" in result.err


def test_without_seccomp_a_check_refuses_too(tmp_path: Path, script: str) -> None:
    result = without_seccomp(tmp_path, "--check", script)

    assert result.code == 2
    assert "cannot be locked in here" in result.out


def test_a_trusted_script_runs_unisolated_and_every_place_says_so(
    tmp_path: Path, script: str
) -> None:
    json_file = tmp_path / "run.json"
    run = without_seccomp(tmp_path, "--script", script, "--trust-script", "--json", str(json_file))
    check = without_seccomp(tmp_path, "--check", script, "--trust-script")

    assert run.code == 0, run
    assert "it ran" in run.out
    assert "scripts: UNISOLATED: the kernel gives no filter of system calls" in run.err
    assert json.loads(json_file.read_text())["isolation"]["my"].startswith("UNISOLATED: ")
    assert check.code == 0
    assert "UNISOLATED: " in check.out


def test_the_chart_page_of_a_trusted_run_is_told_too(tmp_path: Path, script: str) -> None:
    line = command_line(
        tmp_path, "--script", script, "--loop", "--trust-script", "--port", "0", "--no-browser"
    )
    with subprocess.Popen(
        [sys.executable, str(WRAPPER), str(errno.EPERM), *line],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=environment(),
    ) as engine:
        assert engine.stdout is not None
        url = next(text for text in engine.stdout if text.startswith("chart: "))[7:].strip()
        with urllib.request.urlopen(f"{url}/data", timeout=20) as answer:
            meta = json.load(answer)["meta"]
        engine.terminate()
        engine.communicate()

    assert meta["unisolated"].startswith("the kernel gives no filter of system calls")


@pytest.mark.parametrize(
    ("flags", "code", "status"), [((), 1, "FAIL"), (("--trust-script",), 0, "warn")]
)
def test_without_seccomp_the_doctor_fails_or_warns(
    tmp_path: Path, flags: tuple[str, ...], code: int, status: str
) -> None:
    result = without_seccomp(tmp_path, "--doctor", "--json", "-", *flags)

    found = {check["check"]: check for check in json.loads(result.out)["checks"]}["isolation"]
    assert (result.code, found["status"]) == (code, status)
    assert found["seen"].startswith("UNISOLATED: ")
    assert found["advice"]
