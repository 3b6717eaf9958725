/** The entries and exits of the shown symbol, newest first; each leads to its candle. */

import { shortTradeText } from "../chart/a11y.js";
import { button, make } from "../lib/dom.js";
import { decimal, money } from "../lib/format.js";
import { text } from "../lib/i18n.js";
import { dayAndTime } from "../lib/zone.js";
import { signOf } from "./position.js";

const MOST_SHOWN = 200;

/**
 * @param {HTMLElement} panel
 * @param {any[]} trades  oldest first
 * @param {string} zone
 * @param {(ms: number) => void} onChosen  told the time of a trade
 */
export function showTrades(panel, trades, zone, onChosen) {
  if (trades.length === 0) {
    panel.replaceChildren(make("p", { className: "empty", text: text("trades.none") }));
    return;
  }
  const head = make("tr", {}, ...["time", "what", "price", "profit"].map((name) =>
    make("th", { text: text(`trades.${name}`), scope: "col" })));
  const rows = trades.slice(-MOST_SHOWN).reverse().map((trade) => {
    const ms = Date.parse(trade.time);
    const time = dayAndTime(ms, zone);
    const what = shortTradeText(trade);
    const label = text("trades.show", { what, time });
    return make("tr", {},
      make("td", {}, button(time, () => onChosen(ms), { className: "link", "aria-label": label })),
      make("td", { text: `${trade.kind === "entry" ? "▶" : "◀"} ${what}` }),
      make("td", { className: "number", text: decimal(trade.price) }),
      make("td", {
        className: `number ${signOf(trade.profit)}`,
        text: trade.profit === null ? "" : money(trade.profit, true),
      }));
  });
  panel.replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}
