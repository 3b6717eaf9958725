/** The row below the chart: what a drag, a pinch or a key does, for who can only click; and files. */

import { panStep, zoomStep } from "../chart/input.js";
import { button, make, mark } from "../lib/dom.js";
import { text } from "../lib/i18n.js";

export class Tools {
  /**
   * @param {HTMLElement} bar
   * @param {import("../chart/view.js").Chart} chart
   * @param {{table: () => void, picture: () => void, csv: () => void, keys: () => void}} acts
   */
  constructor(bar, chart, acts) {
    /** Sign, name of its text, and what it does. @type {[string, string, string, () => void][]} */
    const tools = [
      ["first", "⇤", "tools.first", () => chart.goFirst()],
      ["pan-left", "←", "tools.older", () => panStep(chart, 1)],
      ["pan-right", "→", "tools.newer", () => panStep(chart, -1)],
      ["zoom-out", "−", "tools.zoomOut", () => zoomStep(chart, -1)],
      ["zoom-in", "+", "tools.zoomIn", () => zoomStep(chart, 1)],
      ["fit", "", "tools.fit", () => chart.fit()],
      ["live", "", "tools.live", () => chart.goLive()],
      ["log-scale", "", "tools.log", () => {
        chart.setLog(!chart.isLog);
        this.#press("log-scale", chart.isLog);
      }],
      ["table-toggle", "", "tools.table", acts.table],
      ["save-png", "", "tools.png", acts.picture],
      ["save-csv", "", "tools.csv", acts.csv],
      ["help", "?", "tools.keysHint", acts.keys],
    ];
    this.tools = tools.map(([id, sign, key, act]) => ({
      sign, key, made: button(sign, act, { id, className: sign === "" ? "" : "icon" }),
    }));
    const buttons = this.tools.map((tool) => tool.made);
    this.hint = make("span", { className: "keys", id: "chart-keys" });
    bar.replaceChildren(...buttons.slice(0, 8), this.hint, make("span", { className: "spacer" }), ...buttons.slice(8));
    this.#press("log-scale", chart.isLog);
    this.#press("table-toggle", false);
  }

  label() {
    for (const { sign, key, made } of this.tools) {
      if (sign === "") {
        made.textContent = text(key);
        made.title = text(`${key}Hint`);
      } else {
        made.title = text(key);
        mark(made, "aria-label", text(key));
      }
    }
    this.hint.textContent = text("chart.keys");
  }

  /** @param {boolean} isShown */
  tableShown(isShown) {
    this.#press("table-toggle", isShown);
  }

  /** @param {boolean} isLog */
  logShown(isLog) {
    this.#press("log-scale", isLog);
  }

  /**
   * @param {string} id
   * @param {boolean} isPressed
   */
  #press(id, isPressed) {
    const tool = this.tools.find(({ made }) => made.id === id);
    if (tool) mark(tool.made, "aria-pressed", String(isPressed));
  }
}
