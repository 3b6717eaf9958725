/**
 * The page's entry: what the first picture needs. All that surrounds the chart is loaded when it
 * stands.
 */

import { Chart } from "./chart/view.js";
import { Source } from "./lib/source.js";
import { storedFlags } from "./lib/settings.js";
import { applyLooks, readTheme } from "./lib/theme.js";
import { storedZone } from "./lib/zone.js";

/** @typedef {(page: import("./page.js").Page) => void} News */

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const box = byId("chart-box");
const chart = new Chart(
  box,
  /** @type {HTMLCanvasElement} */ (byId("canvas")),
  /** @type {HTMLCanvasElement} */ (byId("crosshair")),
);
/** What came before the rest of the page did. @type {News[] | null} */
let waiting = null;
/** @type {import("./page.js").Page | null} */
let page = null;
const source = new Source(chart, {
  onAnswer: (answer) => {
    if (page === null && chart.series.count > 0) document.body.dataset.phase = "chart";
    tell((shown) => shown.heard(answer));
  },
  onFailure: (failure) => tell((shown) => shown.failed(failure)),
});

/** @param {News} news */
function tell(news) {
  if (page !== null) news(page);
  else if (waiting !== null) waiting.push(news);
  else {
    waiting = [news];
    void import("./page.js").then(async ({ openPage }) => {
      page = await openPage(box, chart, source);
      for (const one of waiting ?? []) one(page);
    });
  }
}

applyLooks();
chart.setTheme(readTheme());
chart.setZone(storedZone());
Object.assign(chart.layers, storedFlags("layers"));
const asked = new URLSearchParams(location.search);
source.select(asked.get("symbol"), asked.get("interval"));
/** For tests and for the console: where a candle or a price stands, and what is drawn. */
Object.assign(globalThis, { chart, source });
