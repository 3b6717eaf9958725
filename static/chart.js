/**
 * The chart page: fetches what the engine knows, draws it, and fills the panels around the chart.
 */

import { listen, panStep, zoomStep } from "./chart/input.js";
import { byId, make, markText, say, showLog, showPosition, showRun } from "./chart/panels.js";
import { Chart } from "./chart/view.js";
import * as format from "./lib/format.js";
import { Source } from "./lib/source.js";

const THEME_TOKENS = [
  "surface", "text", "muted", "edge", "grid", "gap", "hatch", "up", "down", "up-faint",
  "down-faint", "forming-band", "crosshair", "crosshair-tag", "crosshair-ink", "tag-ink", "zigzag",
  "zigzag-text", "bull", "bear", "entry", "target", "stop", "liquidation", "stop-zone",
  "target-zone", "line1", "line2", "line3", "line4",
];
/** @type {Record<string, [string, string]>} icon and name */
const THEMES = { auto: ["◐", "Auto"], light: ["☀", "Light"], dark: ["☾", "Dark"] };
const THEME_KEY = "milo-theme";
const LOST_AFTER_MS = 4000;
const SILENT_AFTER_MS = 30_000;
const LAYERS = /** @type {const} */ (["zigzag", "divergences", "trades", "volume"]);
const PRICES = /** @type {const} */ (["open", "high", "low", "close"]);
const STATE_NAMES = {
  viewing: "view only",
  waiting: "waiting",
  running: "running",
  halted: "halted",
  finished: "finished",
};

class Page {
  constructor() {
    this.box = byId("chart-box");
    this.chart = new Chart(
      this.box,
      /** @type {HTMLCanvasElement} */ (byId("canvas")),
      /** @type {HTMLCanvasElement} */ (byId("crosshair")),
    );
    this.chart.onCrosshair = () => this.#showLegend();
    this.chart.venueNow = () => this.#venueNow();
    this.source = new Source(this.chart, {
      onAnswer: (answer) => this.#onAnswer(answer),
      onFailure: (text, isFinal) => this.#onFailure(text, isFinal),
    });
    /** @type {any | null} */
    this.answer = null;
    this.tradeCount = 0;
    /** What was asked for last; null: the server chooses. */
    this.asked = { symbol: null, interval: null };
    this.answeredAt = 0;
    this.answeredWallMs = 0;
    this.failure = "";
    /** Whether the server answered, but not with what was asked for. */
    this.isRefused = false;
    this.#listen();
    applyTheme(storedTheme());
    this.#readTheme();
    setInterval(() => this.#tick(), 500);
    const asked = new URLSearchParams(location.search);
    this.#choose(asked.get("symbol"), asked.get("interval"));
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
      ["retry", () => this.#retry()],
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
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readTheme());
  }

  // --- answers -------------------------------------------------------------------------------

  /** @param {any} answer */
  #onAnswer(answer) {
    const isSame = this.answer !== null && answer.increment;
    this.answer = answer;
    this.answeredAt = performance.now();
    this.answeredWallMs = Date.now();
    this.failure = "";
    if (answer.trades !== null) {
      if (isSame) this.#announce(answer.trades.slice(this.tradeCount));
      this.tradeCount = answer.trades.length;
    }
    this.#showBar(answer.meta);
    showPosition(byId("position"), answer.position, answer.meta.priceDecimals);
    showRun(byId("run"), answer.meta);
    if (answer.log !== null) showLog(byId("log"), answer.log);
    this.#showLegend();
    this.#showPhase();
    this.#tick();
  }

  /**
   * @param {string} text
   * @param {boolean} isFinal the server answered, and will say the same again
   */
  #onFailure(text, isFinal) {
    this.failure = text;
    this.isRefused = isFinal;
    if (isFinal) this.answer = null;
    this.#showPhase();
    this.#tick();
  }

  /**
   * Show another symbol or interval; what is not given stays.
   * @param {{symbol?: string, interval?: string}} wanted
   */
  #select(wanted) {
    const meta = this.answer?.meta;
    const symbol = wanted.symbol ?? this.asked.symbol ?? meta?.symbol ?? null;
    const interval = wanted.interval ?? this.asked.interval ?? meta?.interval ?? null;
    const shown = Object.entries({ symbol, interval }).filter(([, value]) => value !== null);
    history.replaceState(null, "", `?${new URLSearchParams(shown)}`);
    this.#choose(symbol, interval);
  }

  /**
   * @param {string | null} symbol
   * @param {string | null} interval
   */
  #choose(symbol, interval) {
    this.asked = { symbol, interval };
    this.source.select(symbol, interval);
  }

  #retry() {
    if (!this.isRefused) return this.source.retry();
    history.replaceState(null, "", location.pathname);
    this.#choose(null, null);
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

  // --- states --------------------------------------------------------------------------------

  #showPhase() {
    const { answer, failure, chart } = this;
    const hasChart = answer !== null && chart.series.count > 0;
    const phase = hasChart ? "chart" : failure !== "" ? "error" : answer === null ? "loading" : "empty";
    document.body.dataset.phase = phase;
    byId("retry").hidden = phase !== "error";
    if (phase === "error") {
      say(byId("phase-title"), "The chart cannot be loaded");
      say(byId("phase-text"), failure);
      say(byId("retry"), this.isRefused ? "Show the run's own chart" : "Try again");
    } else if (phase === "empty") {
      const { symbol, interval } = answer.meta;
      say(byId("phase-title"), `No candles of ${symbol} ${interval} yet`);
      say(byId("phase-text"), "They appear here as soon as the engine has stored some. "
        + `To fill the store now: python main.py --initdb ${symbol}`);
    }
  }

  /** Update what changes with time alone: data age, staleness, countdown. */
  #tick() {
    if (this.answer === null || document.hidden) return;
    const { meta } = this.answer;
    const sinceAnswer = performance.now() - this.answeredAt;
    const age = (meta.marketAgeMs ?? 0) + sinceAnswer;
    const isLost = this.failure !== "" && sinceAnswer > LOST_AFTER_MS;
    const isEnded = meta.state === "finished";
    const isSilent = meta.marketAgeMs !== null && age > SILENT_AFTER_MS && !isEnded;
    const since = format.secondOfDay(this.answeredWallMs - (isLost ? 0 : (meta.marketAgeMs ?? 0)));
    document.body.toggleAttribute("data-stale", isLost || isSilent);
    const badge = byId("age");
    badge.toggleAttribute("data-stale", isLost || isSilent);
    if (isLost || isSilent) say(badge, `stale since ${since}`);
    else if (isEnded) say(badge, "run finished");
    else say(badge, meta.marketAgeMs === null ? "stored data" : `data ${format.age(age)} old`);
    this.#showBanner(meta, isLost, isSilent, since);
    if (this.chart.series.hasForming && meta.clockSpeed > 0) this.chart.draw();
  }

  /**
   * @param {any} meta
   * @param {boolean} isLost
   * @param {boolean} isSilent
   * @param {string} since
   */
  #showBanner(meta, isLost, isSilent, since) {
    const banner = byId("banner");
    let text = meta.alert ?? "";
    if (isLost) text = `Stale since ${since} UTC: ${this.failure} Trying again…`;
    else if (isSilent && text === "") text = `Stale since ${since} UTC: the market sends nothing.`;
    banner.hidden = text === "";
    banner.classList.toggle("bad", isLost || meta.state === "halted");
    say(banner, text);
  }

  /** The venue's clock as it goes on since the last answer; null where it cannot be known. */
  #venueNow() {
    if (this.answer === null || this.failure !== "") return null;
    const { clock, clockSpeed, state } = this.answer.meta;
    if (state === "finished") return null;
    return Date.parse(clock) + (performance.now() - this.answeredAt) * clockSpeed;
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
    const { meta } = this.answer;
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
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(storedTheme()) + 1) % names.length];
    storeTheme(next);
    applyTheme(next);
    this.#readTheme();
  }

  /** Read the colours once per change; canvas cannot use custom properties. */
  #readTheme() {
    const probe = make("span");
    document.body.append(probe);
    /** @type {Record<string, string>} */
    const theme = { font: getComputedStyle(document.body).fontFamily };
    for (const token of THEME_TOKENS) {
      probe.style.color = `var(--${token})`;
      const name = token.replace(/-./g, (match) => match[1].toUpperCase());
      theme[name] = getComputedStyle(probe).color;
    }
    probe.remove();
    this.chart.setTheme(theme);
  }
}

function storedTheme() {
  try {
    const name = localStorage.getItem(THEME_KEY);
    return name !== null && name in THEMES ? name : "auto";
  } catch {
    return "auto"; // storage is blocked: the system's choice holds
  }
}

/** @param {string} name */
function storeTheme(name) {
  try {
    localStorage.setItem(THEME_KEY, name);
  } catch {
    // Storage is blocked: the choice holds until the page is left.
  }
}

/** @param {string} name */
function applyTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  const [icon, title] = THEMES[name];
  say(byId("theme-icon"), icon);
  say(byId("theme-name"), title);
  byId("theme").setAttribute("aria-label", `Colours: ${title}`);
}

const page = new Page();
/** For tests and for the console: where a candle or a price stands, and what is drawn. */
Object.assign(globalThis, { chart: page.chart, source: page.source });
