"""--doctor: what it says of this computer, the venue and the account; it changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from api_client import ApiClient
from main import Terminal, _makers
from milo.cli.context import App, Arguments
from milo.cli.doctor_machine import check_machine
from milo.cli.doctor_venue import VenueChecks
from milo.cli.findings import Finding, Status
from milo.cli.venue import OpenVenue
from milo.clock import VenueClock
from milo.config import load_config
from milo.ops.folder_lock import FolderLock
from milo.wire.dialects import ASTER, BINANCE, Dialect
from milo.wire.sign import HmacSigner
from tests.scripted_venue import KEY, SECRET, ScriptedVenue, error

from .commands import Finished, command_line, environment, milo

ALWAYS_LONG = (
    'timeframe = "1h"\ncoin = "BTCUSDT"\ncondition_true = True\n'
    'action_if_true = "long(1%risk@10x,sl=2%,rr=3)"\n'
)


def statuses(result: Finished) -> dict[str, str]:
    return {check["check"]: check["status"] for check in json.loads(result.out)["checks"]}


# --- on the embedded exchange -------------------------------------------------------------------


def test_a_fresh_embedded_exchange_is_good(tmp_path: Path) -> None:
    result = milo(tmp_path, "--doctor")

    assert result.code == 0, result
    lines = result.out.splitlines()
    assert {line.split()[0] for line in lines[:-1]} <= {"ok", "warn", "skip"}
    assert "refused with -4509" in result.out
    assert "inside" in result.out
    assert "0 FAIL" in lines[-1]


def test_a_protected_position_is_good_and_its_stop_stands_afterwards(tmp_path: Path) -> None:
    script = tmp_path / "always.script"
    script.write_text(ALWAYS_LONG)
    milo(tmp_path, "--script", str(script))

    result = milo(tmp_path, "--doctor")
    again = milo(tmp_path, "--doctor", "--json", "-")

    assert result.code == 0, result
    assert "refused with -4130" in result.out
    assert "1 open, each with a stop" in result.out
    assert statuses(again)["positions"] == "ok"


def test_the_json_says_the_same_as_the_lines(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "KILL").touch()

    result = milo(tmp_path, "--doctor", "--json", str(tmp_path / "found.json"))

    found = json.loads((tmp_path / "found.json").read_text())
    told = [line.split()[0] for line in result.out.splitlines()[:-1]]
    assert found["is_good"] is True
    assert [check["status"] for check in found["checks"]] == told
    assert "kill file" in result.out
    assert {c["check"]: c["status"] for c in found["checks"]}["kill file"] == "warn"


def test_a_damaged_journal_fails(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "sim"
    folder.mkdir(parents=True)
    (folder / "journal.db").write_bytes(b"this is no database" * 500)

    result = milo(tmp_path, "--doctor")

    assert result.code == 1
    assert "FAIL  journal" in result.out


def test_without_keys_the_venue_is_told_and_the_rest_is_skipped(tmp_path: Path) -> None:
    result = milo(tmp_path, "--doctor", "--exchange", "http://127.0.0.1:9", "--json", "-")

    assert result.code == 1
    assert statuses(result)["keys"] == "FAIL"
    assert statuses(result)["reachable"] == "FAIL"


def test_a_running_engine_is_not_disturbed_by_a_trial_stop(tmp_path: Path) -> None:
    script = tmp_path / "never.script"
    script.write_text('condition_true = False\naction_if_true = "close"\n')
    line = command_line(tmp_path, "--script", str(script), "--loop", "--no-chart")
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()
    ) as engine:
        assert engine.stdout is not None
        next(text for text in engine.stdout if "history from" in text)

        result = milo(tmp_path, "--doctor")

        engine.terminate()
        engine.communicate()
    assert result.code == 0, result
    assert "skip  stop" in result.out


# --- on a venue that answers by a script --------------------------------------------------------

POSITION: dict[str, Any] = {
    "symbol": "BTCUSDT", "positionAmt": "0.5", "entryPrice": "50000", "markPrice": "50000",
    "unRealizedProfit": "0", "liquidationPrice": "45000", "isolatedMargin": "2500",
    "marginType": "isolated", "leverage": "10",
}  # fmt: skip
STOP: dict[str, Any] = {
    "algoId": 9, "clientAlgoId": "web_1", "orderType": "STOP_MARKET", "symbol": "BTCUSDT",
    "side": "SELL", "quantity": "0", "algoStatus": "NEW", "triggerPrice": "49000", "price": "0",
    "closePosition": True, "reduceOnly": True, "createTime": 5, "updateTime": 5,
}  # fmt: skip
SYMBOL: dict[str, Any] = {
    "symbol": "BTCUSDT", "contractType": "PERPETUAL", "status": "TRADING", "onboardDate": 1,
    "baseAsset": "BTC", "quoteAsset": "USDT", "liquidationFee": "0.0125",
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "1", "maxPrice": "809484", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "120"},
        {"filterType": "MIN_NOTIONAL", "notional": "50"},
    ],
}  # fmt: skip
MARK: dict[str, Any] = {
    "symbol": "BTCUSDT", "markPrice": "50000", "indexPrice": "50000", "lastFundingRate": "0",
    "nextFundingTime": 1, "time": 1,
}  # fmt: skip
RIGHTS: dict[str, Any] = {
    "enableWithdrawals": False, "enableFutures": True, "ipRestrict": True, "createTime": 1,
}  # fmt: skip
MODES: dict[str, Any] = {
    "canTrade": True, "dualSidePosition": False, "multiAssetsMargin": False,
}  # fmt: skip
BRACKET: dict[str, Any] = {
    "initialLeverage": 125, "notionalFloor": 0, "notionalCap": 50000, "maintMarginRatio": 0.004,
    "cum": 0,
}  # fmt: skip
GOOD: dict[str, Any] = {
    "/fapi/v1/exchangeInfo": {"symbols": [SYMBOL]},
    "/fapi/v1/premiumIndex": MARK,
    "/fapi/v3/account": {
        "totalWalletBalance": "1000", "totalUnrealizedProfit": "0", "availableBalance": "1000",
    },
    "/fapi/v1/accountConfig": MODES,
    "/sapi/v1/account/apiRestrictions": RIGHTS,
    "/fapi/v1/positionSide/dual": {"dualSidePosition": False},
    "/fapi/v1/multiAssetsMargin": {"multiAssetsMargin": False},
    "/fapi/v1/symbolConfig": [{"symbol": "BTCUSDT", "marginType": "ISOLATED", "leverage": 10}],
    "/fapi/v1/leverageBracket": [{"symbol": "BTCUSDT", "brackets": [BRACKET]}],
    "/fapi/v1/listenKey": {"listenKey": "abc"},
    "/fapi/v3/positionRisk": [],
    "/fapi/v2/positionRisk": [],
    "/fapi/v1/openAlgoOrders": [],
    "/fapi/v1/openOrders": [],
    "/fapi/v1/algoOrder": error(400, -4509),
    "/fapi/v1/order/test": {},
}  # fmt: skip


class Patient:
    """A venue named Binance whose every address is the scripted server's."""

    def __init__(self, server: ScriptedVenue, folder: Path) -> None:
        self.server = server
        self.folder = folder

    async def examine(
        self, changes: Mapping[str, Any] | None = None, *, dialect: Dialect = BINANCE
    ) -> dict[str, Finding]:
        for path, answer in (GOOD | dict(changes or {})).items():
            self.server.script(path, *(answer if isinstance(answer, tuple) else (answer,)))
        clock, signer = VenueClock(), HmacSigner(KEY, SECRET)

        def make(**given: Any) -> ApiClient:
            return ApiClient(**(given | {"rest_url": self.server.url, "timeout_s": 5.0}))

        makers = dataclasses.replace(_makers([]), client=make)
        async with (
            make(dialect=dialect, clock=clock, signer=signer) as client,
            makers.store(self.folder) as store,
        ):
            await client.sync_clock()
            venue = OpenVenue(
                name=dialect.name,
                title="the venue",
                folder=self.folder,
                dialect=dialect,
                rest_url=self.server.url,
                ws_url="",
                clock=clock,
                client=client,
                store=store,
                exchange=None,
                account="test",
                signer=signer,
                is_real=True,
            )
            app = App(
                config=load_config({}, environ={}),
                arguments=Arguments(command="doctor"),
                console=Terminal(),
                make=makers,
            )
            return {finding.check: finding for finding in await VenueChecks(app, venue).run()}


@pytest.fixture
def patient(venue: ScriptedVenue, tmp_path: Path) -> Patient:
    return Patient(venue, tmp_path)


async def test_a_healthy_account_has_nothing_to_complain_of(patient: Patient) -> None:
    found = await patient.examine()

    assert {finding.status for finding in found.values()} == {Status.OK}, found
    assert "POST /fapi/v1/algoOrder" in patient.server.titles()
    assert not [title for title in patient.server.titles() if title.startswith("DELETE")]


RIGHTS_PATH = "/sapi/v1/account/apiRestrictions"
CROSSED = [{"symbol": "BTCUSDT", "marginType": "CROSSED", "leverage": 10}]
HEDGE = {"/fapi/v1/positionSide/dual": {"dualSidePosition": True}}
MULTI = {"/fapi/v1/multiAssetsMargin": {"multiAssetsMargin": True}}
CROSSED_POSITION = {"/fapi/v3/positionRisk": [POSITION], "/fapi/v1/symbolConfig": CROSSED}
JUMPING = {"/fapi/v1/time": ({"serverTime": 1}, {"serverTime": 9_000_000_000_000})}
SICK: list[tuple[str, dict[str, Any]]] = [
    ("withdrawal", {RIGHTS_PATH: RIGHTS | {"enableWithdrawals": True}}),
    ("withdrawal", {RIGHTS_PATH: RIGHTS | {"enableFutures": False}}),
    ("trading", {"/fapi/v1/accountConfig": MODES | {"canTrade": False}}),
    ("position mode", HEDGE),
    ("asset mode", MULTI),
    ("keys", {"/fapi/v3/account": error(401, -2015)}),
    ("stop", {"/fapi/v1/algoOrder": error(401, -2015)}),
    ("stop", {"/fapi/v1/algoOrder": error(400, -4120)}),
    ("brackets", {"/fapi/v1/leverageBracket": []}),
    ("positions", {"/fapi/v3/positionRisk": [POSITION]}),
    ("margin mode", CROSSED_POSITION),
    ("clock", JUMPING),
]


@pytest.mark.parametrize(("check", "changes"), SICK)
async def test_what_is_wrong_fails_its_check(
    patient: Patient, check: str, changes: dict[str, Any]
) -> None:
    found = await patient.examine(changes)

    assert found[check].status is Status.FAIL, found[check]


async def test_a_key_that_works_from_anywhere_is_a_warning(patient: Patient) -> None:
    rights = RIGHTS | {"ipRestrict": False}

    found = await patient.examine({"/sapi/v1/account/apiRestrictions": rights})

    assert found["withdrawal"].status is Status.WARN


async def test_a_position_without_a_stop_is_never_given_one_by_the_trial(patient: Patient) -> None:
    found = await patient.examine({"/fapi/v3/positionRisk": [POSITION]})

    assert found["stop"].status is Status.SKIP
    assert "BTCUSDT long 0.5: NO STOP" in found["positions"].seen
    assert "POST /fapi/v1/algoOrder" not in patient.server.titles()


async def test_beside_a_stop_the_trial_is_its_twin(patient: Patient) -> None:
    changes = {
        "/fapi/v3/positionRisk": [POSITION],
        "/fapi/v1/openAlgoOrders": [STOP],
        "/fapi/v1/algoOrder": error(400, -4130),
    }

    found = await patient.examine(changes)

    assert found["stop"].status is Status.OK
    at = patient.server.titles().index("POST /fapi/v1/algoOrder")
    assert b"triggerPrice=49000" in patient.server.bodies[at]


async def test_a_stop_that_covers_a_part_only_fails(patient: Patient) -> None:
    part = STOP | {"closePosition": False, "quantity": "0.3"}

    found = await patient.examine(
        {"/fapi/v3/positionRisk": [POSITION], "/fapi/v1/openAlgoOrders": [part]}
    )

    assert found["positions"].status is Status.FAIL
    assert "TOO SMALL" in found["positions"].seen
    assert found["stop"].status is Status.SKIP


async def test_a_trial_stop_that_is_taken_is_cancelled_and_fails(patient: Patient) -> None:
    found = await patient.examine({"/fapi/v1/algoOrder": STOP})

    assert found["stop"].status is Status.FAIL
    assert "DELETE /fapi/v1/algoOrder" in patient.server.titles()


async def test_a_trial_stop_of_unknown_outcome_is_cancelled(patient: Patient) -> None:
    found = await patient.examine({"/fapi/v1/algoOrder": error(503, 0)})

    assert found["stop"].status is Status.WARN
    assert "DELETE /fapi/v1/algoOrder" in patient.server.titles()


async def test_while_an_engine_holds_the_venue_no_trial_is_sent(patient: Patient) -> None:
    with FolderLock(patient.folder):
        found = await patient.examine()

    assert found["stop"].status is Status.SKIP
    assert "POST /fapi/v1/algoOrder" not in patient.server.titles()


async def test_on_aster_the_stop_is_tried_by_its_own_test(patient: Patient) -> None:
    account = GOOD["/fapi/v3/account"]

    found = await patient.examine({"/fapi/v4/account": account, "/fapi/v2/positionRisk": [
        POSITION | {"positionAmt": "0"}
    ]}, dialect=ASTER)  # fmt: skip

    assert found["stop"].status is Status.OK
    assert "POST /fapi/v1/order/test" in patient.server.titles()
    assert "POST /fapi/v1/order" not in patient.server.titles()
    assert found["withdrawal"].status is Status.SKIP
    assert found["margin mode"].status is Status.OK


async def test_weight_that_others_use_is_counted(patient: Patient) -> None:
    busy = web.json_response({"symbols": [SYMBOL]}, headers={"X-MBX-USED-WEIGHT-1M": "1500"})

    found = await patient.examine({"/fapi/v1/exchangeInfo": busy})

    assert found["request weight"].status is Status.WARN


# --- as a command, on a venue outside ------------------------------------------------------------


async def doctor_of(venue: ScriptedVenue, folder: Path, *, text: str = "") -> Finished:
    for path, answer in GOOD.items():
        venue.script(path, answer)
    return await asyncio.to_thread(
        milo, folder, "--doctor", "--exchange", venue.url, "--json", "-", text=text
    )


async def test_without_keys_a_venue_that_answers_is_examined_as_far_as_it_goes(
    venue: ScriptedVenue, tmp_path: Path
) -> None:
    result = await doctor_of(venue, tmp_path)

    found = statuses(result)
    assert result.code == 1
    assert found["reachable"] == found["clock"] == found["symbol"] == "ok"
    assert found["keys"] == "FAIL"
    assert found["stop"] == found["positions"] == "skip"


async def test_with_keys_everything_that_such_a_venue_can_be_asked_is_asked(
    venue: ScriptedVenue, tmp_path: Path
) -> None:
    answers = f"{KEY}\n{SECRET}\nlong enough\nlong enough\n"
    stored = await asyncio.to_thread(milo, tmp_path, "--set-keys", venue.url, text=answers)

    result = await doctor_of(venue, tmp_path, text="long enough\n")
    wrong = await doctor_of(venue, tmp_path, text="not the one\n")

    assert stored.code == 0, stored
    assert result.code == 0, result
    assert statuses(result)["stop"] == "ok"
    assert statuses(result)["withdrawal"] == "skip"
    assert wrong.code == 1
    assert statuses(wrong)["keys"] == "FAIL"
    assert "password" in wrong.out
    assert SECRET not in result.out + wrong.out


# --- this computer ------------------------------------------------------------------------------


def test_a_data_directory_that_cannot_be_written_fails(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")

    findings = check_machine(Path("/proc/milo"), blocked, Path("/proc/milo/keys.json"))
    found = {finding.check: finding for finding in findings}

    assert found["disk write"].status is Status.FAIL


def test_checks_of_this_computer_leave_nothing_behind(tmp_path: Path) -> None:
    found = check_machine(tmp_path / "data", tmp_path / "data" / "sim", tmp_path / "keys.json")

    assert {finding.status for finding in found} <= {Status.OK, Status.WARN, Status.SKIP}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "status", "advice"),
    [
        (0o600, 0o700, Status.OK, ""),
        (0o600, 0o755, Status.OK, ""),
        (0o640, 0o700, Status.WARN, "chmod 600"),
        (0o604, 0o700, Status.WARN, "chmod 600"),
        (0o600, 0o777, Status.WARN, "chmod 700"),
    ],
)
def test_a_key_file_that_others_may_open_or_replace_is_warned_of(
    tmp_path: Path, file_mode: int, folder_mode: int, status: Status, advice: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    keys = folder / "keys.json"
    keys.touch()
    keys.chmod(file_mode)
    folder.chmod(folder_mode)

    found = {f.check: f for f in check_machine(folder, folder / "sim", keys)}["key file"]

    assert found.status is status
    assert found.advice.startswith(advice)
