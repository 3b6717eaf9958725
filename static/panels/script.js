/** Why it fired, or why not: what the script said on the candle under the crosshair. */

import { make } from "../lib/dom.js";
import { price } from "../lib/format.js";
import { text } from "../lib/i18n.js";
import { actionText, rowsOf } from "./position.js";

/**
 * @param {HTMLElement} panel
 * @param {{meta: any, said: any, time: string, decimals: number}} shown  `said`: undefined where the
 *   script did not run
 */
export function showScript(panel, { meta, said, time, decimals }) {
  if (meta.script === null) {
    panel.replaceChildren(make("p", { className: "empty", text: text("script.none") }));
    return;
  }
  const head = make("p", { className: "script-time" }, make("span", { text: time }));
  if (said === undefined) {
    panel.replaceChildren(head, make("p", { className: "empty", text: text("script.silent") }));
    return;
  }
  if (said.isForming) head.append(make("span", { className: "forming", text: text("script.forming") }));
  const condition = text(said.condition ? "script.true" : "script.false");
  panel.replaceChildren(
    head,
    rowsOf([
      [text("script.condition"), `${said.condition ? "✓" : "✗"} ${condition}`, said.condition ? "yes" : ""],
      [text("script.action"), actionText(said.action)],
      ...said.plots.map((/** @type {[string, string, number | null]} */ [name, , value]) =>
        /** @type {[string, string]} */ ([name, value === null ? "–" : price(value, decimals)])),
    ]),
    ...linesOf(text("script.marks"), said.marks),
    ...linesOf(text("script.prints"), said.prints),
    ...linesOf(text("script.warnings"), said.warnings, "warn"),
  );
}

/**
 * @param {string} title
 * @param {string[]} lines
 * @param {string} [className]
 */
function linesOf(title, lines, className = "") {
  if (lines.length === 0) return [];
  return [
    make("h2", { text: title }),
    make("pre", { className, text: lines.map((line) => line.replace(/\n$/, "")).join("\n") }),
  ];
}
