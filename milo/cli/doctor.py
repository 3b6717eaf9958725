"""`--doctor`: is everything in place to trade? One line a check; nothing is changed."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from milo.cli.context import App
from milo.cli.doctor_isolation import check_isolation
from milo.cli.doctor_machine import check_machine
from milo.cli.doctor_venue import VenueChecks
from milo.cli.findings import Finding, closing_line, fail, findings_json, has_failed, line_of
from milo.cli.json_output import check_json_path, give_json, says_json_only
from milo.cli.venue import OpenVenue, Purpose, keys_path, open_venue, venue_folder
from milo.errors import ConfigError, EngineError

_NETWORK_ADVICE = "check the network, the venue's name and --data-dir"


async def run(app: App) -> int:
    """Print what each check found; exit code 1 if any failed."""
    check_json_path(app)
    config = app.config
    folder = await asyncio.to_thread(venue_folder, config)
    keys = keys_path(config)
    findings = await asyncio.to_thread(check_machine, config.data_dir, folder, keys)
    findings.append(await check_isolation(is_trusted=config.trust_script))
    async with AsyncExitStack() as stack:
        venue, problems = await _open(app, stack)
        findings += problems
        if venue is not None:
            findings += await VenueChecks(app, venue).run()
    if not says_json_only(app):
        for finding in findings:
            app.console.say(line_of(finding))
        app.console.say(closing_line(findings))
    give_json(app, findings_json(findings, venue=config.exchange))
    return 1 if has_failed(findings) else 0


async def _open(app: App, stack: AsyncExitStack) -> tuple[OpenVenue | None, list[Finding]]:
    """Open the venue, without keys where they cannot be used; say what stood in the way."""
    problems: list[Finding] = []
    for purpose in (Purpose(needs_keys=True), Purpose()):
        try:
            return await stack.enter_async_context(open_venue(app, purpose)), problems
        except ConfigError as error:
            if app.config.is_sim or not purpose.needs_keys:
                return None, [*problems, fail("venue", str(error), "")]
            problems.append(fail("keys", str(error), "store them: --set-keys VENUE"))
        except EngineError as error:
            return None, [*problems, fail("reachable", str(error), _NETWORK_ADVICE)]
    raise AssertionError("the second try returns")
