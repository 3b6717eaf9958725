/**
 * What surrounds the chart: the bar above it, its tools, the panels beside it. Loaded when the first
 * picture stands.
 */

import { spokenCandle, spokenPane, spokenTrade } from "./chart/a11y.js";
import { isControl, listen } from "./chart/input.js";
import { Plots } from "./chart/plots.js";
import { byId, make, say } from "./lib/dom.js";
import { price } from "./lib/format.js";
import {
  counted, setLanguage, shownLanguage, text, texts, translate, wantedLanguage,
} from "./lib/i18n.js";
import { Live } from "./lib/live.js";
import { store } from "./lib/settings.js";
import { States } from "./lib/states.js";
import { LOOKS, choose, readTheme, shownLook } from "./lib/theme.js";
import { browserZone, candleTime, storeZone, zoneName } from "./lib/zone.js";
import { Bar } from "./panels/bar.js";
import { Layers } from "./panels/layers.js";
import { Legend } from "./panels/legend.js";
import { showLog } from "./panels/log.js";
import { showPosition, showRun } from "./panels/position.js";
import { RangeSlider } from "./panels/range.js";
import { showScript } from "./panels/script.js";
import { Tabs } from "./panels/tabs.js";
import { Tools } from "./panels/tools.js";
import { showTrades } from "./panels/trades.js";

/** @type {Readonly<Record<string, string>>} */
const THEME_ICONS = { auto: "◐", light: "☀", dark: "☾" };
/** The keys that choose the pane which is read and scaled. @type {Readonly<Record<string, string>>} */
const PANE_KEYS = { p: "price", v: "volume", r: "rsi", m: "macd", s: "stochastic" };
/** What the canvas takes from the style sheet changes with these. */
const MEDIA = ["(prefers-color-scheme: dark)", "(prefers-contrast: more)", "(forced-colors: active)"];

/**
 * Build the page around a chart, in the visitor's language.
 * @param {HTMLElement} box  the frame of the chart
 * @param {import("./chart/view.js").Chart} chart
 * @param {import("./lib/source.js").Source} source
 */
export async function openPage(box, chart, source) {
  await Promise.all([setLanguage(wantedLanguage()), styled()]);
  return new Page(box, chart, source);
}

/** Fetch the panels' style sheet, which the first picture does not wait for. */
function styled() {
  const link = /** @type {HTMLLinkElement} */ (byId("panels-style"));
  return new Promise((resolve) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", resolve);
    link.disabled = false;
  });
}

export class Page {
  /**
   * @param {HTMLElement} box
   * @param {import("./chart/view.js").Chart} chart
   * @param {import("./lib/source.js").Source} source
   */
  constructor(box, chart, source) {
    this.box = box;
    this.chart = chart;
    this.source = source;
    /** What is shown now, so that only what changes is built anew. @type {Map<string, string>} */
    this.shown = new Map();
    /** @type {any[]} */
    this.trades = [];
    /** @type {any[]} */
    this.log = [];
    this.states = new States(chart, { retry: () => source.retry(), leave: () => this.#leave() });
    this.plots = new Plots(chart, source.said);
    this.bar = new Bar((wanted) => this.#select(wanted));
    this.legend = new Legend(byId("legend"), chart);
    this.range = new RangeSlider(byId("range"), chart, source);
    this.tools = new Tools(byId("tools"), chart, {
      table: () => this.#toggleTable(),
      picture: () => void this.#save("png"),
      csv: () => void this.#save("csv"),
      keys: () => void this.#openKeys(),
    });
    const panels = sidePanels();
    byId("side").replaceChildren(...panels.cards);
    this.panels = panels;
    this.layers = new Layers(panels.layers, chart, () => {
      this.legend.reset();
      this.#showCandle();
    });
    this.tabs = new Tabs(panels.list, [
      { name: "position", panel: panels.position, isApart: true },
      { name: "script", panel: panels.script },
      { name: "trades", panel: panels.trades },
      { name: "log", panel: panels.log },
      { name: "layers", panel: panels.layers, isApart: true },
    ], () => this.#showTab());
    this.#listen();
    this.#relabel();
    source.live = new Live(source);
  }

  #listen() {
    const { box, chart } = this;
    chart.onCrosshair = () => this.#showCandle();
    chart.onRange = () => this.#showRange();
    chart.venueNow = () => this.states.venueNow();
    listen(box, chart, (index) => this.#speak(spokenPane(chart, chart.keyPane, index, this.#saidOn(index))));
    box.addEventListener("keydown", (event) => this.#onKey(event));
    byId("theme").addEventListener("click", () => {
      const names = LOOKS.theme;
      this.#setLook("theme", names[(names.indexOf(shownLook("theme")) + 1) % names.length]);
    });
    byId("zone").addEventListener("click", () =>
      this.#setZone(chart.zone === "UTC" ? browserZone() : "UTC"));
    byId("settings").addEventListener("click", () => void this.#openSettings());
    for (const query of MEDIA) {
      matchMedia(query).addEventListener("change", () => this.#repaint());
    }
  }

  // --- answers -------------------------------------------------------------------------------

  /** @param {any} answer */
  heard(answer) {
    const { chart } = this;
    if (answer.trades !== null) {
      if (answer.increment) this.#announce(answer.trades.slice(this.trades.length));
      this.trades = answer.trades;
    }
    if (answer.log !== null) this.log = answer.log;
    if (this.plots.update()) this.layers.show();
    this.states.heard(answer);
    this.bar.show(answer.meta);
    this.position = answer.position;
    this.#showSide();
    this.#showCandle();
    if (!this.#table.hidden && chart.series.end !== this.tableEnd) void this.#showTable();
  }

  /** @param {import("./lib/source.js").Failure} failure */
  failed(failure) {
    this.states.failed(failure);
  }

  /** @type {any} */
  position = null;

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
    if (last !== undefined) this.#speak(spokenTrade(last));
  }

  /** @param {string} sentence */
  #speak(sentence) {
    say(byId("spoken"), sentence);
  }

  // --- what stands beside the chart ----------------------------------------------------------

  /**
   * Build a panel anew only where what it shows has changed: a selection of its text stays.
   * @param {string} name
   * @param {unknown} value
   * @param {() => void} show
   */
  #changed(name, value, show) {
    const key = JSON.stringify([shownLanguage(), this.chart.zone, value]) ?? "";
    if (this.shown.get(name) === key) return;
    this.shown.set(name, key);
    show();
  }

  #showSide() {
    const { meta } = this.source;
    if (!meta) return;
    const { position } = this;
    this.#changed("position", [position, meta.priceDecimals], () =>
      showPosition(byId("position"), position, meta.priceDecimals));
    this.#changed("run", [meta.run, meta.script, meta.title], () => showRun(byId("run"), meta));
    this.#showTab();
  }

  /** What is behind a tab is built when it is seen. */
  #showTab() {
    const { chart, tabs } = this;
    if (tabs?.shown === "log") {
      this.#changed("log", [this.log.length, this.log.at(-1)], () => showLog(byId("log"), this.log, chart.zone));
    } else if (tabs?.shown === "trades") {
      this.#changed("trades", [this.trades.length, this.trades.at(-1), this.source.name], () =>
        showTrades(this.panels.trades, this.trades, chart.zone, (ms) => this.#pointAtTime(ms)));
    }
  }

  /** @param {number} ms */
  #pointAtTime(ms) {
    const index = this.chart.series.indexOfTime(ms);
    if (index >= 0) this.chart.pointAt(index);
    else this.chart.goFirst(); // it lies further back: older candles come
    this.box.scrollIntoView({ block: "nearest" });
  }

  /** The candle that is read: under the crosshair, or the newest one. */
  get index() {
    const pointed = this.chart.crosshairIndex();
    return pointed >= 0 ? pointed : this.chart.series.last;
  }

  /** @param {number} i */
  #saidOn(i) {
    return this.source.said.get(this.chart.series.openMs[i]);
  }

  #showCandle() {
    const { chart, index } = this;
    const { meta } = this.source;
    this.legend.show(index);
    if (!meta || index < chart.series.first) return;
    // Nobody points at a candle: the newest one that the script has seen says most.
    const isOlder = chart.crosshairIndex() < 0 && !this.#saidOn(index) && index > chart.series.first;
    const told = isOlder && this.#saidOn(index - 1) ? index - 1 : index;
    const said = this.#saidOn(told);
    const time = `${candleTime(chart, told)} ${zoneName(chart.shownZone)}`;
    this.#changed("script", [meta.script?.name, said, time, meta.priceDecimals], () =>
      showScript(this.panels.script, { meta, said, time, decimals: meta.priceDecimals }));
    if (chart.crosshairIndex() < 0) this.#showTitle(index);
  }

  /** @param {number} i */
  #showTitle(i) {
    const { chart, box } = this;
    const { meta } = this.source;
    document.title = `${price(chart.series.close[i], meta.priceDecimals)} ${meta.symbol} ${meta.interval} · Milo`;
    const { symbol, interval, title } = meta;
    box.setAttribute("aria-label", counted("chart.label", chart.series.count, { symbol, interval, title }));
  }

  #showRange() {
    this.range.follow();
    // Older rows came: their words are here too.
    if (this.plots.series === this.chart.series && this.plots.first !== this.chart.series.first) {
      this.plots.update();
    }
    if (!this.#table.hidden) this.#later("table", () => void this.#showTable());
  }

  /** @type {Map<string, number>} */
  #timers = new Map();

  /**
   * Once, when the view has come to rest.
   * @param {string} name
   * @param {() => void} act
   */
  #later(name, act) {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(name, setTimeout(act, 120));
  }

  // --- keys and tools ------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || isControl(event)) return;
    const key = event.key.toLowerCase();
    if (key in PANE_KEYS) this.#readPane(PANE_KEYS[key]);
    else if (key === "t") this.#toggleTable();
    else if (key === "?") void this.#openKeys();
    else if (key === "g") this.tools.logShown(this.chart.isLog);
    else return;
    event.preventDefault();
  }

  /** From now on keys read and scale this pane; it is shown where it was hidden. @param {string} name */
  #readPane(name) {
    const { chart } = this;
    if (chart.layers[name] === false) this.layers.set(name, true);
    chart.keyPane = name;
    this.#speak(spokenPane(chart, name, this.index, this.#saidOn(this.index)));
  }

  tableEnd = -1;

  get #table() {
    return byId("table");
  }

  #toggleTable() {
    this.#table.hidden = !this.#table.hidden;
    this.tools.tableShown(!this.#table.hidden);
    if (!this.#table.hidden) void this.#showTable();
  }

  async #showTable() {
    const { showTable } = await import("./panels/table.js");
    this.tableEnd = this.chart.series.end;
    showTable(this.#table, this.chart);
  }

  /** @param {"png" | "csv"} kind */
  async #save(kind) {
    const { saveCsv, savePicture } = await import("./panels/save.js");
    const { chart, source } = this;
    if (chart.series.count === 0) return;
    const name = kind === "csv" ? saveCsv(chart, source.meta) : await savePicture(chart, source.meta);
    this.#speak(text("spoken.saved", { name }));
  }

  async #openKeys() {
    (await import("./panels/keys.js")).openKeys();
  }

  async #openSettings() {
    const { openSettings } = await import("./panels/settings.js");
    openSettings(this.chart.zone, {
      onLook: (name, value) => this.#setLook(name, value),
      onZone: (zone) => this.#setZone(zone),
      onLanguage: async (language) => {
        store("language", language);
        await setLanguage(language);
        this.#relabel();
      },
    });
  }

  // --- choices -------------------------------------------------------------------------------

  /**
   * @param {import("./lib/theme.js").Look} name
   * @param {string} value
   */
  #setLook(name, value) {
    choose(name, value);
    this.#repaint();
    this.#showChoices();
  }

  /** Read the colours again and draw with them. */
  #repaint() {
    this.chart.setTheme(readTheme());
    this.range.redraw();
  }

  /** @param {string} zone */
  #setZone(zone) {
    storeZone(zone);
    this.chart.setZone(zone);
    this.#showChoices();
    this.#showSide();
    this.#showCandle();
    if (!this.#table.hidden) void this.#showTable();
  }

  #showChoices() {
    const { chart } = this;
    const theme = shownLook("theme");
    say(byId("theme-icon"), THEME_ICONS[theme]);
    const label = text("settings.themeButton", { theme: text(`theme.${theme}`) });
    byId("theme").title = label;
    byId("theme").setAttribute("aria-label", label);
    const other = chart.zone === "UTC" ? browserZone() : "UTC";
    say(byId("zone"), zoneName(chart.zone));
    const switched = text("zone.label", { zone: zoneName(chart.zone), other: zoneName(other) });
    byId("zone").title = switched;
    byId("zone").setAttribute("aria-label", switched);
  }

  /** Say everything anew, in the present language. */
  #relabel() {
    const { chart } = this;
    translate(document);
    chart.words = { ...texts("reason."), ...texts("word."), stochastic: text("pane.stochastic") };
    this.tools.label();
    this.tabs.label((name) => text(`${name}.title`));
    this.layers.show();
    this.legend.reset();
    this.#showChoices();
    const { meta } = this.source;
    if (meta) {
      this.bar.show(meta);
      this.#showSide();
      this.#showCandle();
      if (!this.#table.hidden) void this.#showTable();
    }
    this.states.relabel();
    this.range.relabel();
    chart.draw();
  }
}

/** The panels beside the chart, empty. */
function sidePanels() {
  const titled = (/** @type {string} */ id, /** @type {string} */ key, /** @type {HTMLElement} */ body) =>
    make("section", { className: "card", "aria-labelledby": `${id}-title` },
      make("h2", { id: `${id}-title`, "data-text": key }), body);
  const position = make("div", { id: "panel-position", className: "position-panel" },
    titled("position", "position.title", make("div", { id: "position" })),
    titled("run", "run.title", make("div", { id: "run" })));
  const layers = make("fieldset", { id: "panel-layers", className: "card layers" });
  const list = make("div", { className: "tabs", "data-label": "side.tabs" });
  const script = make("div", { id: "panel-script", className: "panel", tabindex: "0" });
  const trades = make("div", { id: "panel-trades", className: "panel", tabindex: "0" });
  const log = make("div", { id: "panel-log", className: "panel log", tabindex: "0" }, make("ol", { id: "log" }));
  const tabbed = make("div", { className: "card tabbed" }, list, script, trades, log);
  return { position, layers, list, script, trades, log, cards: [position, tabbed, layers] };
}
