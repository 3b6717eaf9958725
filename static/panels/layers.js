/** What is drawn and what is hidden; the choice is kept for later visits. */

import { make } from "../lib/dom.js";
import { text } from "../lib/i18n.js";
import { store } from "../lib/settings.js";

const KNOWN = /** @type {const} */ ([
  "zigzag", "divergences", "trades", "averages", "volume", "rsi", "macd", "stochastic",
]);

export class Layers {
  /**
   * @param {HTMLElement} panel
   * @param {import("../chart/view.js").Chart} chart
   * @param {() => void} onChange
   */
  constructor(panel, chart, onChange) {
    this.panel = panel;
    this.chart = chart;
    this.onChange = onChange;
    /** @type {Map<string, HTMLInputElement>} */
    this.boxes = new Map();
  }

  /** Offer what there is: panes and marks of scripts come with them. */
  show() {
    const { chart, boxes } = this;
    boxes.clear();
    const known = KNOWN.map((name) => this.#box(name, text(`layers.${name}`)));
    if (chart.notes.size > 0) known.push(this.#box("notes", text("layers.notes")));
    const own = new Set(chart.series.names.flatMap((name) => chart.plots.get(name) ?? []));
    for (const name of ["price", ...KNOWN]) own.delete(name);
    this.panel.replaceChildren(
      make("legend", { text: text("layers.title") }),
      ...known,
      ...Array.from(own, (name) => this.#box(name, name)),
    );
  }

  /**
   * @param {string} name
   * @param {boolean} isShown
   */
  set(name, isShown) {
    const { layers } = this.chart;
    const box = this.boxes.get(name);
    if (box !== undefined) box.checked = isShown;
    layers[name] = isShown;
    store("layers", JSON.stringify(Object.fromEntries(KNOWN.map((known) => [known, layers[known]]))));
    this.chart.drawNow();
    this.onChange();
  }

  /**
   * @param {string} name
   * @param {string} label
   */
  #box(name, label) {
    const box = /** @type {HTMLInputElement} */ (make("input", { type: "checkbox", id: `layer-${name}` }));
    box.checked = this.chart.layers[name] !== false;
    box.addEventListener("change", () => this.set(name, box.checked));
    this.boxes.set(name, box);
    return make("label", {}, box, ` ${label}`);
  }
}
