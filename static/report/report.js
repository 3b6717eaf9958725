/**
 * The page of one backtest: draws its charts and its trade list from the data that came with it.
 */

import { listen, zoomStep } from "../chart/input.js";
import { fixed, money, openTime } from "../lib/format.js";
import { TimeChart, View } from "./chart.js";
import { columns, placeBefore } from "./data.js";
import { drawdownPane, equityPane, holdOf, pricePane, tradeAt } from "./panes.js";
import { TradeList, heldText, priceOf, toneOf, whyOf } from "./trades.js";

const TOKENS = [
  "surface", "text", "muted", "grid", "accent", "up", "down", "down-faint", "entry", "stop",
  "target", "stop-zone", "target-zone", "crosshair", "crosshair-tag", "crosshair-ink",
];

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

class ReportPage {
  /** @param {any} report */
  constructor(report) {
    this.report = report;
    this.equity = columns(report.equity);
    this.trades = columns(report.trades);
    this.markets = report.markets.map((/** @type {any} */ market) => ({
      ...market,
      candles: columns(market.columns),
    }));
    this.market = this.markets[0];
    this.chosen = -1;
    this.view = new View(report.startMs, report.endMs, report.stepMs);
    /** @type {TimeChart[]} */
    this.charts = [];
    if (this.equity.time.length > 0) this.#equityChart();
    if (this.market !== undefined) this.#priceChart();
    this.view.listeners.push(() => this.#tell());
    this.list = new TradeList(report, this.trades, (place) => this.#show(place));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readTheme());
    this.#readTheme();
    this.#tell();
  }

  #equityChart() {
    const { report } = this;
    const isAlone = this.markets.length === 1;
    const hold = isAlone ? holdOf(this.market.candles, report.startMs, report.startBalance) : null;
    const panes = [equityPane(this.equity, hold, report.startBalance), drawdownPane(this.equity)];
    this.#add("equity-box", this.equity.time, panes);
  }

  #priceChart() {
    const picker = /** @type {HTMLSelectElement} */ (byId("market"));
    this.markets.forEach((/** @type {any} */ market, /** @type {number} */ index) => {
      const option = document.createElement("option");
      option.value = String(index);
      option.textContent = `${market.symbol} ${market.interval}`;
      picker.append(option);
    });
    const chart = this.#add("price-box", this.market.candles.time, []);
    const use = (/** @type {number} */ index) => {
      this.market = this.markets[index];
      this.market.own = this.#ownTrades(index);
      chart.times = this.market.candles.time;
      chart.series.last = chart.times.length - 1;
      const { candles, decimals, own } = this.market;
      chart.panes = [
        pricePane(candles, decimals, own, this.trades, {
          looked: () => this.#looked(),
          chosen: () => this.chosen,
        }),
      ];
      this.view.changed();
    };
    picker.addEventListener("change", () => {
      this.chosen = -1;
      use(Number(picker.value));
    });
    this.picker = picker;
    this.use = use;
    use(0);
  }

  /** @param {number} market */
  #ownTrades(market) {
    const { symbol } = this.markets[market];
    const wanted = this.report.symbols.indexOf(symbol);
    const places = Array.from(this.trades.net.keys());
    return places
      .filter((place) => this.trades.symbol[place] === wanted)
      .sort((a, b) => this.trades.entryMs[a] - this.trades.entryMs[b]);
  }

  /**
   * @param {string} id
   * @param {ArrayLike<number>} times
   * @param {import("./chart.js").Pane[]} panes
   */
  #add(id, times, panes) {
    const box = byId(id);
    // Only a chart that was clicked takes the wheel: the page scrolls over the others.
    box.addEventListener(
      "wheel",
      (event) => {
        if (document.activeElement !== box && !event.ctrlKey) event.stopImmediatePropagation();
      },
      { capture: true },
    );
    const chart = new TimeChart(box, this.view, times, panes);
    listen(box, /** @type {any} */ (chart), () => {});
    const tools = /** @type {HTMLElement} */ (box.parentElement?.querySelector(".tools"));
    for (const button of tools.querySelectorAll("button")) {
      button.addEventListener("click", () => act(chart, button.dataset.act ?? ""));
    }
    this.charts.push(chart);
    return chart;
  }

  /** The place of the trade to explain: the one pointed at, else the chosen one. */
  #looked() {
    const { pointedMs, fromMs, toMs } = this.view;
    if (pointedMs === null || this.market === undefined) return this.chosen;
    const reach = Math.max(this.view.stepMs, (toMs - fromMs) / 100);
    const found = tradeAt(this.market.own, this.trades, pointedMs, reach);
    return found < 0 ? this.chosen : found;
  }

  /** @param {number} place */
  #show(place) {
    const market = this.markets.findIndex(
      (/** @type {any} */ item) => item.symbol === this.report.symbols[this.trades.symbol[place]],
    );
    if (market < 0) return;
    if (this.markets[market] !== this.market) {
      this.picker.value = String(market);
      this.use(market);
    }
    this.chosen = place;
    const [from, to] = [this.trades.entryMs[place], this.trades.exitMs[place]];
    const room = Math.max(to - from, 30 * this.view.stepMs);
    this.view.pointedMs = null;
    this.view.show(from - room, to + room);
    byId("price-box").scrollIntoView({ block: "center" });
  }

  /** Say in words what is pointed at. */
  #tell() {
    const ms = this.view.pointedMs;
    const at = ms ?? Math.min(this.view.toMs, this.report.endMs);
    const when = openTime(at, this.view.stepMs);
    if (this.equity.time.length > 0) {
      const place = placeBefore(this.equity.time, at);
      byId("equity-legend").textContent =
        `${when}   equity ${money(String(this.equity.last[place]))} USDT   ` +
        `drawdown ${fixed(this.equity.fall[place], 2)} %`;
    }
    if (this.market === undefined) return;
    const { candles, decimals } = this.market;
    const place = placeBefore(candles.time, at);
    const prices = ["open", "high", "low", "close"].map(
      (name) => `${name[0].toUpperCase()} ${fixed(candles[name][place], decimals)}`,
    );
    // Another market's history may go on for longer: its time is none of these candles'.
    const [end, before] = [candles.time.at(-1) ?? 0, candles.time.at(-2) ?? 0];
    const isWithin = at >= candles.time[0] && at < end + Math.max(end - before, this.view.stepMs);
    const whose = isWithin ? when : openTime(candles.time[place], this.view.stepMs);
    byId("price-legend").textContent = `${whose}   ${prices.join("  ")}`;
    this.#tellTrade();
  }

  #tellTrade() {
    const line = byId("trade-legend");
    const { trades } = this;
    const place = this.#looked();
    if (place < 0) {
      line.className = "legend muted";
      line.textContent = "Point at a trade to see its stop and target.";
      return;
    }
    const r = trades.r[place];
    const told = (/** @type {number} */ value) => priceOf(this.report, trades, place, value);
    // Levels came with 7 digits; more would be rounding.
    const level = (/** @type {number} */ value) =>
      Number.isNaN(value) ? "none" : told(Number(value.toPrecision(7)));
    line.className = `legend ${toneOf(trades.net[place])}`;
    line.textContent =
      `${trades.isLong[place] ? "▲ long" : "▼ short"} ${told(trades.entry[place])} → ` +
      `${told(trades.exit[place])} (${whyOf(this.report, trades, place)})   ` +
      `${money(String(trades.net[place]), true)} USDT` +
      `${Number.isNaN(r) ? "" : `, ${fixed(r, 2)} R`}   ` +
      `stop ${level(trades.stop[place])}   target ${level(trades.target[place])}   ` +
      `held ${heldText(trades.exitMs[place] - trades.entryMs[place])}`;
  }

  #readTheme() {
    const probe = document.createElement("span");
    probe.hidden = true;
    document.body.append(probe);
    /** @type {Record<string, string>} */
    const theme = { font: getComputedStyle(document.body).fontFamily };
    for (const token of TOKENS) {
      probe.style.color = `var(--${token})`;
      theme[token] = getComputedStyle(probe).color;
    }
    probe.remove();
    for (const chart of this.charts) {
      chart.theme = theme;
      chart.drawNow();
    }
  }
}

/**
 * @param {TimeChart} chart
 * @param {string} name
 */
function act(chart, name) {
  if (name === "fit") chart.fit();
  else if (name === "in") zoomStep(/** @type {any} */ (chart), 1);
  else if (name === "out") zoomStep(/** @type {any} */ (chart), -1);
  else chart.panBy((name === "left" ? 1 : -1) * chart.plotWidth * 0.3);
}

const page = new ReportPage(JSON.parse(byId("report-data").textContent ?? "null"));
// For the tests, and for whoever opens the console.
Object.assign(globalThis, { page });
document.body.dataset.phase = "ready";
document.body.dataset.trades = String(page.list.places.length);
