/** The open position and the numbers of the run. */

import { make } from "../lib/dom.js";
import * as format from "../lib/format.js";
import { text } from "../lib/i18n.js";

/**
 * A definition list of the rows that have a value.
 * @param {[string, string | null, string?][]} rows
 */
export function rowsOf(rows) {
  const list = make("dl");
  for (const [name, value, className] of rows) {
    if (value !== null) list.append(make("dt", { text: name }), make("dd", { text: value, className }));
  }
  return list;
}

/** @param {string | null} amount */
export function signOf(amount) {
  if (amount === null || format.money(amount) === "0.00") return "";
  return amount.startsWith("-") ? "loss" : "gain";
}

/** @param {string | null} amount */
const usdt = (amount, isSigned = false) =>
  amount === null ? null : `${format.money(amount, isSigned)} USDT`;

/** A script's action, which may break after a comma. @param {string} action */
export const actionText = (action) => action.replaceAll(",", ",\u200b");

/**
 * @param {HTMLElement} panel
 * @param {any | null} position
 * @param {number} decimals
 */
export function showPosition(panel, position, decimals) {
  if (position === null) {
    panel.replaceChildren(make("p", { className: "empty", text: text("position.none") }));
    return;
  }
  const isLong = position.direction === "long";
  const side = isLong ? `▲ ${text("position.long")}` : `▼ ${text("position.short")}`;
  const leverage = position.leverage === null ? "" : ` ${position.leverage}×`;
  const price = (/** @type {string | null} */ level) =>
    level === null ? null : format.price(Number(level), decimals);
  panel.replaceChildren(
    make("p", { className: "position-side" },
      make("span", { text: `${side}${leverage}` }),
      make("span", { className: signOf(position.unrealized), text: usdt(position.unrealized, true) ?? "" })),
    rowsOf([
      [text("position.quantity"), format.decimal(position.quantity)],
      [text("position.entry"), price(position.entryPrice)],
      [text("position.stop"), price(position.stopPrice) ?? text("position.unconfirmed")],
      [text("position.target"), price(position.targetPrice)],
      [text("position.liquidation"), price(position.liquidationPrice)],
    ]),
  );
}

/**
 * @param {HTMLElement} panel
 * @param {any} meta
 */
export function showRun(panel, meta) {
  const { run, script } = meta;
  panel.replaceChildren(rowsOf([
    [text("run.market"), meta.title],
    [text("run.wallet"), usdt(run.walletBalance)],
    [text("run.profit"), usdt(run.profit, true), signOf(run.profit)],
    [text("run.unrealized"), usdt(run.unrealized, true), signOf(run.unrealized)],
    [text("run.trades"), run.closedTrades > 0 ? String(run.closedTrades) : null],
    [text("run.candles"), script === null ? null : format.fixed(run.candles, 0)],
    [text("run.evaluations"), script === null ? null : format.fixed(run.evaluations, 0)],
    [text("run.errors"), run.scriptErrors > 0 ? String(run.scriptErrors) : null, "loss"],
  ]));
}
