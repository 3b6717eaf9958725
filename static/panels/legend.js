/**
 * The line above the chart: the candle under the crosshair, or the newest one, and the value of each
 * line there. For eyes only: a screen reader hears the candle where a key moves the crosshair.
 */

import { tradeText, valueText } from "../chart/a11y.js";
import { labelOf } from "../chart/plots.js";
import { make, say } from "../lib/dom.js";
import { compact, percent, price } from "../lib/format.js";
import { text } from "../lib/i18n.js";
import { candleTime, zoneName } from "../lib/zone.js";

const PRICES = /** @type {const} */ (["open", "high", "low", "close"]);
const MOST_MARKS = 3;

export class Legend {
  /**
   * @param {HTMLElement} element
   * @param {import("../chart/view.js").Chart} chart
   */
  constructor(element, chart) {
    this.element = element;
    this.chart = chart;
    /** What the cells were made for. */
    this.layout = "";
    /** @type {Map<string, HTMLElement>} */
    this.cells = new Map();
    this.width = 0;
    // A chart that jumps when a number gets longer cannot be read: the legend only ever grows.
    new ResizeObserver(() => this.#keepHeight()).observe(element);
  }

  /** Build the cells anew: another language, or other lines. */
  reset() {
    this.layout = "";
    this.element.style.minHeight = "";
  }

  /** @param {number} i  index of the candle */
  show(i) {
    const { chart, element } = this;
    const { series, decimals } = chart;
    if (i < series.first) {
      element.replaceChildren();
      this.layout = "";
      return;
    }
    this.#build();
    const before = i > series.first ? series.close[i - 1] : series.open[i];
    const change = series.close[i] / before - 1;
    this.#set("time", `${candleTime(chart, i)} ${zoneName(chart.shownZone)}`);
    for (const name of PRICES) this.#set(name, price(series[name][i], decimals));
    const cell = this.#set("change", percent(change));
    cell.className = change < 0 ? "loss" : "gain";
    this.#set("volume", compact(series.volume[i]));
    for (const pane of chart.paint?.panes ?? []) {
      for (const line of pane.lines) this.#set(line, valueText(pane, series.columns[line][i]));
    }
    this.#set("forming", series.hasForming && i === series.last ? text("legend.forming") : "");
    const marks = chart.trades.filter((trade) => trade.index === i).slice(-MOST_MARKS).map(tradeText);
    this.#set("marks", [...marks, ...(chart.notes.get(i) ?? [])].join(" · "));
  }

  /**
   * @param {string} name
   * @param {string} shown
   */
  #set(name, shown) {
    const cell = /** @type {HTMLElement} */ (this.cells.get(name));
    say(cell, shown);
    return cell;
  }

  #build() {
    const panes = this.chart.paint?.panes ?? [];
    const layout = JSON.stringify(panes.map((pane) => pane.lines));
    if (layout === this.layout) return;
    this.layout = layout;
    const { cells } = this;
    cells.clear();
    const cell = (/** @type {string} */ name, /** @type {string} */ className = "") => {
      const value = make("span", { className });
      cells.set(name, value);
      return value;
    };
    const labelled = (/** @type {string} */ name, /** @type {string} */ label) =>
      make("span", {}, make("b", { text: label }), cell(name));
    const lines = panes.flatMap((pane) => pane.lines.map((line, k) =>
      make("span", {},
        make("i", { className: `swatch line${(k % 4) + 1}` }),
        make("b", { text: labelOf(line) }),
        cell(line))));
    this.element.replaceChildren(
      cell("time", "time"),
      ...PRICES.map((name) => labelled(name, text(`legend.${name}`))),
      cell("change"),
      labelled("volume", text("legend.volume")),
      ...lines,
      cell("forming", "forming"),
      cell("marks", "mark"),
    );
  }

  #keepHeight() {
    const { element } = this;
    if (element.offsetWidth !== this.width) {
      this.width = element.offsetWidth;
      element.style.minHeight = "";
    }
    element.style.minHeight = `${element.offsetHeight}px`;
  }
}
