/**
 * What surrounds the chart: the bar above it, its tools, the panels beside it. Loaded when the first
 * picture stands.
 */

import { listen, panStep, zoomStep } from "./chart/input.js";
import { byId, make, markText, say, showLog, showPosition, showRun } from "./chart/panels.js";
import * as format from "./lib/format.js";
import { Live } from "./lib/live.js";
import { States } from "./lib/states.js";
import { nextTheme, readTheme, showTheme } from "./lib/theme.js";

const LAYERS = /** @type {const} */ (["zigzag", "divergences", "trades", "volume"]);
const PRICES = /** @type {const} */ (["open", "high", "low", "close"]);
const STATE_NAMES = {
  viewing: "view only",
  waiting: "waiting",
  running: "running",
  halted: "halted",
  finished: "finished",
};

export class Page {
  /**
   * @param {HTMLElement} box  the frame of the chart
   * @param {import("./chart/view.js").Chart} chart
   * @param {import("./lib/source.js").Source} source
   */
  constructor(box, chart, source) {
    this.box = box;
    this.chart = chart;
    this.source = source;
    source.live = new Live(source);
    this.states = new States(chart, { retry: () => source.retry(), leave: () => this.#leave() });
    chart.onCrosshair = () => this.#showLegend();
    chart.venueNow = () => this.states.venueNow();
    this.tradeCount = 0;
    this.#listen();
    showTheme();
  }

  #listen() {
    const { chart } = this;
    listen(this.box, chart, (index) => say(byId("spoken"), this.#spokenCandle(index)));
    /** @type {[string, () => void][]} */
    const buttons = [
      ["first", () => chart.goFirst()],
      ["pan-left", () => panStep(chart, 1)],
      ["pan-right", () => panStep(chart, -1)],
      ["zoom-in", () => zoomStep(chart, 1)],
      ["zoom-out", () => zoomStep(chart, -1)],
      ["fit", () => chart.fit()],
      ["live", () => chart.goLive()],
      ["theme", () => this.#nextTheme()],
    ];
    for (const [id, act] of buttons) byId(id).addEventListener("click", act);
    for (const name of LAYERS) {
      const box = /** @type {HTMLInputElement} */ (byId(`layer-${name}`));
      // A browser may restore the boxes of an earlier visit.
      chart.layers[name] = box.checked;
      box.addEventListener("change", () => {
        chart.layers[name] = box.checked;
        chart.draw();
      });
    }
    const symbol = /** @type {HTMLSelectElement} */ (byId("symbol"));
    symbol.addEventListener("change", () => this.#select({ symbol: symbol.value }));
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", () => chart.setTheme(readTheme()));
  }

  // --- answers -------------------------------------------------------------------------------

  /** @param {any} answer */
  heard(answer) {
    if (answer.trades !== null) {
      if (answer.increment) this.#announce(answer.trades.slice(this.tradeCount));
      this.tradeCount = answer.trades.length;
    }
    this.states.heard(answer);
    this.#showBar(answer.meta);
    showPosition(byId("position"), answer.position, answer.meta.priceDecimals);
    showRun(byId("run"), answer.meta);
    if (answer.log !== null) showLog(byId("log"), answer.log);
    this.#showLegend();
  }

  /** @param {import("./lib/source.js").Failure} failure */
  failed(failure) {
    this.states.failed(failure);
  }

  /**
   * Show another symbol or interval; what is not given stays.
   * @param {{symbol?: string, interval?: string}} wanted
   */
  #select(wanted) {
    const { selection, meta } = this.source;
    const symbol = wanted.symbol ?? selection.symbol ?? meta?.symbol ?? null;
    const interval = wanted.interval ?? selection.interval ?? meta?.interval ?? null;
    const shown = Object.entries({ symbol, interval }).filter(([, value]) => value !== null);
    history.replaceState(null, "", `?${new URLSearchParams(shown)}`);
    this.source.select(symbol, interval);
  }

  /** Show what the server chooses. */
  #leave() {
    history.replaceState(null, "", location.pathname);
    this.source.select(null, null);
  }

  /** @param {any[]} trades */
  #announce(trades) {
    const last = trades.at(-1);
    if (last === undefined) return;
    const profit = last.profit === null ? "" : `, profit ${format.money(last.profit, true)} USDT`;
    const name = last.kind === "entry" ? "Entry" : `Exit by ${last.reason ?? "order"}`;
    say(byId("spoken"), `${name}: ${last.side} ${last.quantity} at ${last.price}${profit}`);
  }

  // --- the bar -------------------------------------------------------------------------------

  /** @param {any} meta */
  #showBar(meta) {
    const venue = byId("venue");
    venue.hidden = false;
    venue.classList.toggle("simulated", meta.isSimulated);
    venue.title = meta.title;
    say(venue, meta.isSimulated ? "SIMULATED" : meta.venue.toUpperCase());
    const unisolated = byId("unisolated");
    unisolated.hidden = meta.unisolated === null;
    unisolated.title = meta.unisolated ?? "";
    say(byId("title"), meta.title);
    this.#showSymbols(meta);
    this.#showIntervals(meta);
    const script = byId("script");
    script.hidden = meta.script === null;
    if (meta.script !== null) {
      say(byId("script-name"), meta.script.name);
      script.title = `${meta.script.name} on ${meta.script.symbol} ${meta.script.interval}`;
    }
    const state = byId("script-state");
    state.dataset.state = meta.state;
    say(state, STATE_NAMES[/** @type {keyof typeof STATE_NAMES} */ (meta.state)] ?? meta.state);
  }

  /** @param {any} meta */
  #showSymbols(meta) {
    const select = /** @type {HTMLSelectElement} */ (byId("symbol"));
    const shown = Array.from(select.options, (option) => option.value);
    if (shown.join() !== meta.symbols.join()) {
      select.replaceChildren(...meta.symbols.map((/** @type {string} */ name) => new Option(name)));
    }
    if (select.value !== meta.symbol) select.value = meta.symbol;
    select.disabled = meta.symbols.length < 2;
  }

  /** @param {any} meta */
  #showIntervals(meta) {
    const group = byId("intervals");
    const shown = Array.from(group.children, (button) => button.textContent);
    if (shown.join() !== meta.intervals.join()) {
      group.replaceChildren(
        ...meta.intervals.map((/** @type {string} */ name) => {
          const button = make("button", { text: name });
          button.setAttribute("type", "button");
          button.addEventListener("click", () => this.#select({ interval: name }));
          return button;
        }),
      );
    }
    for (const button of group.children) {
      const isShown = button.textContent === meta.interval;
      if (isShown && button.getAttribute("aria-pressed") !== "true") {
        button.scrollIntoView({ block: "nearest", inline: "center" });
      }
      button.setAttribute("aria-pressed", String(isShown));
    }
  }

  // --- legend --------------------------------------------------------------------------------

  #showLegend() {
    const { chart } = this;
    const { series, decimals } = chart;
    const pointed = chart.crosshairIndex();
    const i = pointed >= 0 ? pointed : series.last;
    const legend = byId("legend");
    if (i < 0) {
      legend.replaceChildren();
      return;
    }
    const isForming = series.hasForming && i === series.last;
    const change = i > 0 ? series.close[i] / series.close[i - 1] - 1 : 0;
    const nodes = [
      make("span", { className: "time", text: `${this.#timeOf(i)} UTC` }),
      ...PRICES.map((name) =>
        make("span", {},
          make("b", { text: name[0].toUpperCase() }),
          document.createTextNode(format.price(series[name][i], decimals)))),
      make("span", { className: change < 0 ? "loss" : "gain", text: format.percent(change) }),
      make("span", {}, make("b", { text: "V" }),
        document.createTextNode(format.compact(series.volume[i]))),
    ];
    if (isForming) nodes.push(make("span", { className: "forming", text: "forming" }));
    for (const mark of chart.trades.filter((trade) => trade.index === i).slice(-3)) {
      nodes.push(make("span", { className: "mark", text: markText(mark) }));
    }
    legend.replaceChildren(...nodes);
    if (pointed < 0) this.#showTitle(i);
  }

  /** @param {number} i */
  #showTitle(i) {
    const { meta } = this.source;
    const price = format.price(this.chart.series.close[i], meta.priceDecimals);
    document.title = `${price} ${meta.symbol} ${meta.interval} · Milo`;
    this.box.setAttribute(
      "aria-label", `${meta.symbol} ${meta.interval}, ${meta.title}, ${this.chart.series.count} candles`,
    );
  }

  /** @param {number} i */
  #timeOf(i) {
    const { series } = this.chart;
    return format.openTime(series.openMs[i], series.intervalMs);
  }

  /** @param {number} i */
  #spokenCandle(i) {
    const { series, decimals, trades } = this.chart;
    const [open, high, low, close] = PRICES.map(
      (name) => format.price(series[name][i], decimals),
    );
    const way = series.close[i] >= series.open[i] ? "up" : "down";
    const marks = trades.filter((trade) => trade.index === i).map(markText).join(", ");
    return `${this.#timeOf(i)}, ${way}, open ${open}, high ${high}, low ${low}, close ${close}`
      + (marks === "" ? "" : `, ${marks}`);
  }

  // --- theme ---------------------------------------------------------------------------------

  #nextTheme() {
    nextTheme();
    this.chart.setTheme(readTheme());
  }
}
