"""The page under axe-core: themes, sizes and languages, with and without what opens over it.

axe-core comes from npm, for these tests alone; where it cannot be had they are skipped and say so.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Serve, Visit, Watched, see
from tests.browser.talkative import talkative_market

FOLDER = Path(__file__).parent / "axe"
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((one) => one.html).join(" | ")}`);
}"""
WIDE = {"width": 1280, "height": 720}
NARROW = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def axe() -> str:
    """The checker's source."""
    npm = shutil.which("npm")
    if not AXE.is_file() and npm is not None:
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=FOLDER, check=False, capture_output=True, timeout=60)
    if not AXE.is_file():
        pytest.skip("no axe-core (npm, or its registry, is missing): accessibility not checked")
    return AXE.read_text()


def violations(page: Watched, axe: str) -> list[str]:
    page.evaluate(axe)
    found: Any = page.evaluate(RUN)
    return list(found)


@pytest.mark.parametrize("language", ["en", "de", "fr", "ko"])
def test_nothing_is_against_the_rules_in_both_themes_and_sizes(
    serve: Serve, visit: Visit, axe: str, language: str
) -> None:
    page = visit(serve(talkative_market()), locale=language)

    found = {}
    for viewport in (WIDE, NARROW):
        page.page.set_viewport_size(viewport)
        for scheme in ("dark", "light"):
            page.page.emulate_media(color_scheme=scheme)
            found[scheme, viewport["width"]] = violations(page, axe)

    assert page.evaluate("() => document.documentElement.lang") == language
    assert not any(found.values()), found


def test_what_is_opened_keeps_the_rules_too(serve: Serve, visit: Visit, axe: str) -> None:
    page = visit(serve(talkative_market()))

    found = {}
    for opened in ("tab-trades", "tab-log", "table-toggle", "settings", "help"):
        page.page.locator(f"#{opened}").click()
        if opened in ("settings", "help"):
            see(page.page.locator("dialog")).to_be_visible()
        for scheme in ("dark", "light"):
            page.page.emulate_media(color_scheme=scheme)
            found[opened, scheme] = violations(page, axe)
        page.page.keyboard.press("Escape")

    assert not any(found.values()), found


@pytest.mark.parametrize("colours", ["classic", "red-up"])
def test_other_colours_can_be_read_as_well(
    serve: Serve, visit: Visit, axe: str, colours: str
) -> None:
    chosen = f"localStorage.setItem('milo-colours', '{colours}')"
    page = visit(serve(talkative_market()), before=chosen)

    assert page.evaluate("() => document.documentElement.dataset.colours") == colours
    for scheme in ("dark", "light"):
        page.page.emulate_media(color_scheme=scheme)
        assert violations(page, axe) == [], scheme


@pytest.mark.parametrize("options", [{"forced_colors": "active"}, {"contrast": "more"}])
def test_the_systems_own_colours_and_contrast_are_taken(
    serve: Serve, visit: Visit, axe: str, options: dict[str, str]
) -> None:
    page = visit(serve(talkative_market()), **options)

    assert violations(page, axe) == []
    text, surface = page.evaluate("() => [chart.theme.muted, chart.theme.surface]")
    assert text != surface
    assert page.evaluate("() => chart.theme.muted === chart.theme.text") is True
