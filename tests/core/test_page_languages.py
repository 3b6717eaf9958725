"""The page's texts: every language has every key, with the same values to fill in; none is idle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "static"
ENGLISH_FILE = STATIC / "i18n" / "en.js"
LANGUAGES = ("de", "fr", "ko")
# Plural forms beside `other`, by Unicode's rules for whole numbers below a million.
PLURALS = {"en": {"one"}, "de": {"one"}, "fr": {"one"}, "ko": set[str]()}
FORMS = {"zero", "one", "two", "few", "many"}


def english() -> dict[str, str]:
    text = ENGLISH_FILE.read_text()
    return dict(
        json.loads(text[text.index("{", text.index("ENGLISH")) :].rstrip().removesuffix(";"))
    )


def table(language: str) -> dict[str, str]:
    if language == "en":
        return english()
    return dict(json.loads((STATIC / "i18n" / f"{language}.json").read_text()))


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)\}", text))


def sources() -> str:
    """Return all that may use a text: the page and its modules."""
    files = [path for path in STATIC.rglob("*.js") if not {"report", "i18n"} & set(path.parts)]
    return "\n".join(path.read_text() for path in sorted([*files, STATIC / "index.html"]))


def is_used(key: str, text: str) -> bool:
    """Whether the key stands in the text, whole or made of parts: `state.${name}`, `${key}Hint`."""
    base, _, form = key.rpartition(".")
    if f'"{key}"' in text or (form in {*FORMS, "other"} and f'"{base}"' in text):
        return True
    # As one of several signs in one text.
    if key.startswith("key.") and re.search(rf'"{re.escape(key)} ', text):
        return True
    templates = re.findall(r"`((?:[a-zA-Z.]|\$\{[^}`]*\})*)`", text)
    templates += [f"{prefix}${{}}" for prefix in re.findall(r'texts\("([a-z]+\.)"\)', text)]
    for template in templates:
        parts = re.split(r"\$\{[^}]*\}", template)
        is_telling = len(parts) > 1 and len("".join(parts)) >= 4
        if is_telling and re.fullmatch(r"[\w.-]+".join(map(re.escape, parts)), key):
            return True
    return False


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text_and_no_other(language: str) -> None:
    def plain(keys: set[str]) -> set[str]:
        return {key for key in keys if key.rpartition(".")[2] not in FORMS}

    ours, theirs = set(english()), set(table(language))

    assert plain(theirs) == plain(ours)


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_every_counted_text_has_the_forms_of_its_language(language: str) -> None:
    texts = table(language)
    counted = {key.removesuffix(".other") for key in texts if key.endswith(".other")}

    assert counted == {"chart.label", "table.caption"}
    for base in counted:
        forms = {form for form in FORMS if f"{base}.{form}" in texts}
        assert forms == PLURALS[language], base


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_fill_in_the_same_values(language: str) -> None:
    originals = english()

    for key, text in table(language).items():
        original = originals.get(key, originals.get(f"{key.rpartition('.')[0]}.other", ""))
        assert placeholders(text) == placeholders(original), key
        assert text.strip() == text != "", key


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_every_year_has_twelve_months(language: str) -> None:
    texts = table(language)

    assert len(texts["date.months"].split(" ")) == 12
    assert sorted(re.findall(r"[dmy]", texts["date.full"])) == ["d", "m", "y"]
    assert sorted(re.findall(r"[dmy]", texts["date.day"])) == ["d", "m"]


def test_no_text_is_idle() -> None:
    text = sources()

    assert [key for key in english() if not is_used(key, text)] == []


def test_no_text_is_missing() -> None:
    text = sources()
    asked = set(re.findall(r'\b(?:text|named|counted)\(\s*"([\w.-]+)"', text))
    asked |= set(re.findall(r'data-(?:text|label|hint|role)="([\w.-]+)"', text))
    known = set(english()) | {key.rpartition(".")[0] for key in english() if key.endswith(".other")}

    assert len(asked) > 70
    assert sorted(asked - known) == []


def test_the_picture_begins_with_the_words_that_it_is_told_later() -> None:
    view = (STATIC / "chart" / "view.js").read_text()
    block = re.search(r"const WORDS = \{(.*?)\};", view, re.DOTALL)

    assert block is not None
    words = dict(re.findall(r'(\w+): "([^"]*)"', block[1]))
    texts = english()
    assert len(words) == 10
    assert {name: texts[f"word.{name}"] for name in words} == words
