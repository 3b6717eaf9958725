"""The page puts text of strangers in as text: read from its sources, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from milo.web.access import SECURITY_HEADERS

STATIC = Path(__file__).resolve().parents[2] / "static"
SOURCES = sorted(STATIC.rglob("*.js"))
# Whatever makes markup or code of a text.
SINKS = (
    r"\.\s*innerHTML\b", r"\.\s*outerHTML\b", r"\binsertAdjacentHTML\b", r"\bdocument\s*\.\s*write",
    r"\bsetHTML(Unsafe)?\b", r"\bparseFromString\b", r"\bcreateContextualFragment\b",
    r"\beval\s*\(", r"\bnew\s+Function\b", r"\bFunction\s*\(", r"\bsrcdoc\b",
    # A module by its own name is no text of anybody.
    r"\bimport\s*\((?!\"\.{1,2}/[a-z_/]+\.js\"\))",
    r"set(Timeout|Interval)\s*\(\s*[\"'`]", r"\bjavascript:", r"\bdangerously", r"\.\s*cssText\b",
)  # fmt: skip
SAFE_ATTRIBUTES = {
    "aria-busy", "aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext",
    "id", "type", "role", "scope", "tabindex", "datetime", "aria-label", "aria-labelledby",
    "aria-controls", "aria-pressed", "aria-selected", "aria-roledescription", "data-kind",
    "data-text", "data-label",
}  # fmt: skip


def code_of(path: Path) -> str:
    """Return a source without its comments, in which types are imported."""
    without_blocks = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    return re.sub(r"^\s*//.*$", "", without_blocks, flags=re.MULTILINE)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_source_makes_markup_or_code_of_a_text(path: Path) -> None:
    text = code_of(path)

    found = [sink for sink in SINKS if re.search(sink, text)]

    assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_attributes_that_cannot_run_anything_are_set(path: Path) -> None:
    text = code_of(path)

    names = re.findall(r"\.setAttribute\(\s*([^,]+),", text)

    # The one place that takes a name looks it up in the list that the next test reads.
    checked = {"name"} if path.name == "dom.js" else set()
    assert {name.strip("\"'` \n") for name in names} <= SAFE_ATTRIBUTES | checked
    # A file to save is an address of the page's own making.
    own = r"(?!=|\s*URL\.createObjectURL\(blob\))"
    assert not re.search(rf"\.\s*(href|src|action|formAction|on[a-z]+)\s*={own}", text)


def test_elements_are_made_with_safe_attributes_alone() -> None:
    text = (STATIC / "lib" / "dom.js").read_text()

    listed = re.search(r"SAFE_ATTRIBUTES = new Set\(\[(.*?)\]\)", text, re.DOTALL)

    assert listed is not None
    assert set(re.findall(r'"([\w-]+)"', listed[1])) <= SAFE_ATTRIBUTES
    assert text.count("setAttribute(") == 1
    assert re.search(
        r"if \(!SAFE_ATTRIBUTES\.has\(name\)\) throw .*\n.*element\.setAttribute\(name, value\)",
        text,
    )


@pytest.mark.parametrize("path", sorted(STATIC.rglob("*.html")), ids=lambda path: path.name)
def test_no_page_has_code_within_its_markup(path: Path) -> None:
    text = path.read_text()

    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"\son[a-z]+\s*=", text)
    assert not re.search(r"\sstyle\s*=", text)


def test_the_browser_is_told_to_refuse_what_the_sources_do_not_do() -> None:
    policy = dict(
        part.strip().split(" ", 1)
        for part in SECURITY_HEADERS["Content-Security-Policy"].split(";")
    )

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["base-uri"] == "'none'"
    assert "unsafe" not in " ".join(policy.values())


def test_these_tests_read_the_page() -> None:
    assert {"chart.js", "page.js", "feed.js"} <= {path.name for path in SOURCES}
    assert any("textContent" in path.read_text() for path in SOURCES)
