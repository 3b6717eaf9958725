/**
 * What the chart says in words: the candle under the crosshair, a pane's values there, a fill.
 */

import { compact, decimal, money, price } from "../lib/format.js";
import { named, text } from "../lib/i18n.js";
import { candleTime } from "../lib/zone.js";
import { labelOf } from "./plots.js";

/** @typedef {import("./view.js").Chart} Chart */

const PRICES = /** @type {const} */ (["open", "high", "low", "close"]);

/**
 * A candle in one sentence, with what happened on it.
 * @param {Chart} chart
 * @param {number} i
 * @param {any} [said]  what the script said there
 */
export function spokenCandle(chart, i, said) {
  const { series, decimals } = chart;
  const values = Object.fromEntries(PRICES.map((name) => [name, price(series[name][i], decimals)]));
  const way = text(series.close[i] >= series.open[i] ? "spoken.up" : "spoken.down");
  const parts = [text("spoken.candle", { time: candleTime(chart, i), way, ...values })];
  if (series.hasForming && i === series.last) parts.push(text("spoken.forming"));
  const swing = chart.swings.items.find((item) => item.index === i);
  if (swing) parts.push(swing.label);
  parts.push(...chart.trades.filter((trade) => trade.index === i).map(tradeText));
  if (said) {
    const condition = text(said.condition ? "script.true" : "script.false");
    parts.push(text("spoken.signal", { condition, action: said.action }), ...said.marks);
  }
  return parts.join(", ");
}

/**
 * What a pane shows at a candle; the candle itself where it is the price's.
 * @param {Chart} chart
 * @param {string} name  of the pane
 * @param {number} i
 * @param {any} [said]
 */
export function spokenPane(chart, name, i, said) {
  if (name === "price") return spokenCandle(chart, i, said);
  const pane = chart.paint?.panes.find((one) => one.name === name);
  const title = named(`pane.${name}`, name);
  if (pane === undefined || i < 0) return text("spoken.nothing", { pane: title });
  const values = name === "volume"
    ? `${title} ${compact(chart.series.volume[i])}`
    : pane.lines.map((line) => `${labelOf(line)} ${valueText(pane, chart.series.columns[line][i])}`).join(", ");
  return text("spoken.pane", { time: candleTime(chart, i), values });
}

/**
 * @param {{text: (value: number) => string}} pane
 * @param {number} value
 */
export const valueText = (pane, value) => (Number.isNaN(value) ? "–" : pane.text(value));

/**
 * The values that texts about an entry or exit name.
 * @param {any} trade
 */
const wordsOf = (trade) => ({
  side: named(`side.${trade.side}`, trade.side),
  quantity: decimal(trade.quantity),
  price: decimal(trade.price),
  reason: named(`reason.${trade.reason ?? "exit"}`, trade.reason ?? ""),
});

/** An entry or exit beside its candle. @param {any} trade */
export function tradeText(trade) {
  if (trade.kind === "entry") return text("mark.entry", wordsOf(trade));
  const profit = trade.profit === null ? "" : ` ${money(trade.profit, true)}`;
  return text("mark.exit", wordsOf(trade)) + profit;
}

/** An entry or exit where time and price stand beside it. @param {any} trade */
export const shortTradeText = (trade) =>
  text(trade.kind === "entry" ? "mark.in" : "mark.out", wordsOf(trade));

/** The news of a fill. @param {any} trade */
export function spokenTrade(trade) {
  const news = text(trade.kind === "entry" ? "spoken.entry" : "spoken.exit", wordsOf(trade));
  if (trade.profit === null) return news;
  return `${news}, ${text("spoken.profit", { profit: money(trade.profit, true) })}`;
}
