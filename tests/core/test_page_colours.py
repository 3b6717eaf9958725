"""The page's colours, read from its style sheet: what is drawn can be told from what it stands on.

A checker of pages sees no canvas; these are the pairs that are drawn on it, and the panels' own.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STYLE = Path(__file__).resolve().parents[2] / "static" / "css" / "base.css"
SETS = ("safe", "classic", "red-up")
SCHEMES = ("light", "dark")
# WCAG 2.2: 1.4.3 for text, 1.4.11 for lines and shapes.
TEXT, SHAPE = 4.5, 3.0
TEXTS = ("text", "muted", "accent", "zigzag-text", "gain", "loss", "good", "warn", "bad")
SHAPES = (
    "up", "down", "zigzag", "bull", "bear", "line1", "line2", "line3", "line4", "entry",
    "liquidation", "crosshair", "control-edge", "focus",
)  # fmt: skip


def tokens(block: str) -> dict[str, str]:
    return {name: value.strip() for name, value in re.findall(r"--([\w-]+):\s*([^;]+);", block)}


def colours(chosen: str, scheme: str) -> dict[str, str]:
    """Return every plain colour of a set and scheme as `#rrggbb`."""
    text = STYLE.read_text()
    found = tokens(text[: text.index("}")])
    own = re.search(rf':root\[data-colours="{chosen}"\] \{{(.*?)\}}', text, re.DOTALL)
    found |= tokens(own[1]) if own else {}
    pairs = {}
    for name, value in found.items():
        both = re.fullmatch(r"light-dark\((#\w+), (#\w+)\)", value)
        pairs[name] = both[SCHEMES.index(scheme) + 1] if both else value
    return {name: pairs.get(value[6:-1], value) for name, value in pairs.items()}


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def seen_by(colour: str, kind: str) -> tuple[float, float, float]:
    """Return a colour as eyes without red (protan) or green (deutan) cones see it, 0..1.

    Source: Vienot, Brettel, Mollon 1999, in linear light.
    """
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    mixed = 0.112 * red + 0.888 * green if kind == "protan" else 0.293 * red + 0.707 * green
    return mixed, mixed, blue


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("chosen", SETS)
def test_texts_and_shapes_stand_out(chosen: str, scheme: str) -> None:
    known = colours(chosen, scheme)
    weak = {
        (name, ground): round(contrast(known[name], known[ground]), 2)
        for names, least, grounds in (
            (TEXTS, TEXT, ("surface",)),
            (("text", "muted"), TEXT, ("page", "raised")),
            (SHAPES, SHAPE, ("surface",)),
        )
        for name in names
        for ground in grounds
        if contrast(known[name], known[ground]) < least
    }

    assert weak == {}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("chosen", SETS)
def test_prices_on_their_tags_can_be_read(chosen: str, scheme: str) -> None:
    known = colours(chosen, scheme)
    tags = ("up", "down", "entry", "liquidation", "target", "stop")

    weak = {name: contrast(known["tag-ink"], known[name]) for name in tags}

    assert {name: ratio for name, ratio in weak.items() if ratio < TEXT} == {}
    assert contrast(known["crosshair-ink"], known["crosshair-tag"]) >= TEXT


@pytest.mark.parametrize("kind", ["protan", "deutan"])
@pytest.mark.parametrize("chosen", ["safe", "red-up"])
def test_rise_and_fall_differ_for_colour_blind_eyes(chosen: str, kind: str) -> None:
    known = colours(chosen, "dark")

    up, down = seen_by(known["up"], kind), seen_by(known["down"], kind)

    assert abs(up[2] - down[2]) > 0.4, "blue against none of it"
