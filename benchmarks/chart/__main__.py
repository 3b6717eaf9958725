"""Measure the chart beside lightweight-charts in one browser process: `make bench-chart`.

Both draw the same candles, averages, ZigZag, divergences, volume and RSI. Each figure is the median
of interleaved runs, each run in a new page. Frames cost what the page's main thread was busy for.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.chart.market import columns_of, items_of
from benchmarks.chart.served import served

HERE: Final = Path(__file__).resolve().parent
STATIC: Final = HERE.parents[1] / "static"
ANCHOR: Final = HERE / "anchor"
LIBRARY: Final = "node_modules/lightweight-charts/dist"
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
)  # fmt: skip
ALONE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure; `goal` is the most that own may be of the anchor's at that many candles."""

    name: str
    unit: str
    goals: dict[int, float]


METRICS: Final = (
    Metric("first paint", "ms", {5_000: 0.5, 100_000: 0.15}),
    Metric("opening, busy", "ms", {}),
    Metric("pan, 300 in view", "ms/frame", {5_000: 0.7, 20_000: 0.7, 100_000: 0.7}),
    Metric("pan, 95 % in view", "ms/frame", {5_000: 0.6, 100_000: 0.08}),
    Metric("zoom sweep", "ms/frame", {100_000: 0.15}),
    Metric("live tick", "ms", {5_000: 0.6, 100_000: 0.03}),
    Metric("memory", "MB", {100_000: 0.2}),
)


def main() -> int:
    given = _arguments()
    if not _has_anchor():
        print("anchor missing, ratio not measured (npm install in benchmarks/chart/anchor failed)")
        return 1
    folders = {"static": STATIC, "page": HERE / "page", "anchor": ANCHOR / "node_modules"}
    with served(folders, _data) as address, _Browser(given.scale) as browser:
        is_good = True
        for count in given.counts:
            is_good &= _compare(browser, address, count, given)
        if ALONE in given.alone:
            is_good &= _alone(browser, address, given)
    return 0 if is_good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--counts", type=int, nargs="*", default=[5_000, 20_000, 100_000])
    parser.add_argument("--alone", type=int, nargs="*", default=[ALONE])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--scale", type=float, default=1.0, help="device pixels of a CSS pixel")
    parser.add_argument("--conflated", action="store_true", help="let the anchor conflate")
    return parser.parse_args()


def _has_anchor() -> bool:
    if not (ANCHOR / LIBRARY).is_dir() and shutil.which("npm"):
        command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        subprocess.run(command, cwd=ANCHOR, check=False, stdout=subprocess.DEVNULL)  # noqa: S603
    return (ANCHOR / LIBRARY).is_dir()


@cache
def _data(name: str) -> bytes:
    count, _, kind = name.partition(".")
    return columns_of(int(count)) if kind == "bin" else items_of(int(count))


class _Browser:
    """A Chromium of the system, at a true pixel ratio."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def __enter__(self) -> Any:
        try:
            from playwright.sync_api import sync_playwright
        except ImportError:
            sys.exit("no playwright: make browser")
        found = filter(None, map(shutil.which, BROWSERS))
        path = os.environ.get("BROWSER_BIN") or next(found, None)
        if path is None:
            sys.exit("no chromium (or BROWSER_BIN names none)")
        flags = [*FLAGS, f"--force-device-scale-factor={self._scale}", "--window-size=1280,720"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium refuses its sandbox to root.
        self._playwright = sync_playwright().start()
        self._chromium = self._playwright.chromium.launch(executable_path=path, args=flags)
        return self._chromium

    def __exit__(self, *failure: object) -> None:
        self._chromium.close()
        self._playwright.stop()


def _compare(browser: Any, address: str, count: int, given: argparse.Namespace) -> bool:
    _data(f"{count}.bin"), _data(f"{count}.json")
    found: dict[str, list[dict[str, float]]] = {"own": [], "anchor": []}
    for _ in range(given.runs):
        for page in found:
            found[page].append(_run(browser, address, page, count, given))
    is_good = True
    print(f"\n{count:,} candles, medians of {given.runs}")
    print(f"{'':22}{'own':>10}{'anchor':>10}{'ratio':>8}{'goal':>8}")
    for metric in METRICS:
        own, anchor = (median(run[metric.name] for run in found[page]) for page in found)
        ratio, goal = own / anchor, metric.goals.get(count)
        verdict = "" if goal is None else f"{goal:8.2f}" + ("" if ratio <= goal else "  MISSED")
        is_good &= goal is None or ratio <= goal
        label = f"{metric.name}, {metric.unit}"
        print(f"{label:22}{own:10.2f}{anchor:10.2f}{ratio:8.3f}{verdict}", flush=True)
    return is_good


def _alone(browser: Any, address: str, given: argparse.Namespace) -> bool:
    _data(f"{ALONE}.bin"), _data(f"{ALONE}.json")
    runs = [_run(browser, address, "own", ALONE, given) for _ in range(min(3, given.runs))]
    middle = {name: median(run[name] for run in runs) for name in runs[0]}
    print(f"\n{ALONE:,} candles, ours alone, all of them in memory, medians of {len(runs)}")
    for name, value in middle.items():
        print(f"{name:34}{value:10.2f}")
    is_good = middle["first paint"] < 1000 and middle["frames/s, 95 % in view"] >= 50
    verdict = "met" if is_good else "MISSED"
    print(f"goal: opens under 1,000 ms, pans at 50 frames/s or more: {verdict}")
    return is_good


def _run(
    browser: Any, address: str, name: str, count: int, given: argparse.Namespace
) -> dict[str, float]:
    context = browser.new_context(no_viewport=True)
    try:
        page = context.new_page()
        page.set_viewport_size({"width": 1280, "height": 720}) if given.scale == 1 else None
        cdp = context.new_cdp_session(page)
        cdp.send("Performance.enable", {"timeDomain": "timeTicks"})
        conflated = "&conflated=1" if given.conflated else ""
        page.goto(f"{address}/page/{name}.html?count={count}{conflated}")
        page.wait_for_function("globalThis.bench !== undefined", timeout=120_000)
        figures = {"first paint": page.evaluate("bench.firstPaint")}
        figures["opening, busy"] = _busy_s(cdp) * 1000
        cdp.send("HeapProfiler.collectGarbage")
        heap = cdp.send("Runtime.getHeapUsage")
        figures["memory"] = (heap["usedSize"] + heap.get("backingStorageSize", 0.0)) / 1e6
        figures["heap"] = heap["usedSize"] / 1e6
        figures.update(_moves(page, cdp, count, given.frames))
        return figures
    finally:
        context.close()


def _moves(page: Any, cdp: Any, count: int, frames: int) -> dict[str, float]:
    moves = {
        "pan, 300 in view": f"bench.pan({frames}, 300)",
        "pan, 95 % in view": f"bench.pan({frames}, {round(count * 0.95)})",
        "zoom sweep": f"bench.zoom({frames})",
        "live tick": f"bench.tick({frames})",
    }
    figures = {}
    for name, call in moves.items():
        cdp.send("HeapProfiler.collectGarbage")
        before = _busy_s(cdp)
        elapsed_ms = page.evaluate(call)
        figures[name] = (_busy_s(cdp) - before) * 1000 / frames
        figures[f"frames/s{name[3:]}" if name.startswith("pan") else f"frames/s, {name}"] = (
            frames / elapsed_ms * 1000
        )
    return figures


def _busy_s(cdp: Any) -> float:
    metrics: Iterator[dict[str, Any]] = iter(cdp.send("Performance.getMetrics")["metrics"])
    return next(float(item["value"]) for item in metrics if item["name"] == "TaskDuration")


if __name__ == "__main__":
    sys.exit(main())
