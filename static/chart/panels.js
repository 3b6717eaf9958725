/**
 * The panels beside the chart, and the small means to build them. Text of scripts, symbols and
 * errors is only ever inserted as text.
 */

import * as format from "../lib/format.js";

/** @param {string} id */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * @param {string} name
 * @param {{className?: string, text?: string}} [options]
 * @param {...Node} children
 */
export function make(name, { className, text } = {}, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

/**
 * Set text only where it differs: an untouched node keeps selection and costs no layout.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {any} mark */
export function markText(mark) {
  const at = `${mark.side} ${format.decimal(mark.quantity)} @ ${format.decimal(mark.price)}`;
  if (mark.kind === "entry") return `▶ entry ${at}`;
  const profit = mark.profit === null ? "" : ` ${format.money(mark.profit, true)}`;
  return `◀ ${mark.reason ?? "exit"} ${at}${profit}`;
}

/**
 * A definition list of the rows that have a value.
 * @param {[string, string | null, string?][]} rows
 */
function rowsOf(rows) {
  const list = make("dl");
  for (const [name, value, className] of rows) {
    if (value !== null) list.append(make("dt", { text: name }), make("dd", { text: value, className }));
  }
  return list;
}

/** @param {string | null} amount */
function signOf(amount) {
  if (amount === null || format.money(amount) === "0.00") return "";
  return amount.startsWith("-") ? "loss" : "gain";
}

/** @param {string | null} amount */
const usdt = (amount, isSigned = false) =>
  amount === null ? null : `${format.money(amount, isSigned)} USDT`;

/**
 * @param {HTMLElement} panel
 * @param {any | null} position
 * @param {number} decimals
 */
export function showPosition(panel, position, decimals) {
  if (position === null) {
    panel.replaceChildren(make("p", { className: "empty", text: "No open position" }));
    return;
  }
  const arrow = position.direction === "long" ? "▲ Long" : "▼ Short";
  const leverage = position.leverage === null ? "" : ` ${position.leverage}×`;
  const price = (/** @type {string | null} */ text) =>
    text === null ? null : format.fixed(Number(text), decimals);
  panel.replaceChildren(
    make("p", { className: "position-side" },
      make("span", { text: `${arrow}${leverage}` }),
      make("span", { className: signOf(position.unrealized), text: usdt(position.unrealized, true) ?? "" })),
    rowsOf([
      ["Quantity", format.decimal(position.quantity)],
      // An average of several fills may be finer than the tick.
      ["Entry", format.price(Number(position.entryPrice), decimals)],
      ["Stop", price(position.stopPrice) ?? "not confirmed yet"],
      ["Target", price(position.targetPrice)],
      ["Liquidation", price(position.liquidationPrice)],
    ]),
  );
}

/**
 * @param {HTMLElement} panel
 * @param {any} meta
 */
export function showRun(panel, meta) {
  const { run, script } = meta;
  const condition = script?.lastCondition === true ? "true" : "false";
  panel.replaceChildren(rowsOf([
    ["Market", meta.title],
    ["Wallet", usdt(run.walletBalance)],
    ["Profit", usdt(run.profit, true), signOf(run.profit)],
    ["Unrealised", usdt(run.unrealized, true), signOf(run.unrealized)],
    ["Closed trades", run.closedTrades > 0 ? String(run.closedTrades) : null],
    ["Candles seen", script === null ? null : format.fixed(run.candles, 0)],
    ["Evaluations", script === null ? null : format.fixed(run.evaluations, 0)],
    ["Condition", (script?.lastCondition ?? null) === null ? null : condition],
    ["Action", script?.lastAction?.replaceAll(",", ",\u200b") ?? null], // may break after a comma
    ["Script errors", run.scriptErrors > 0 ? String(run.scriptErrors) : null, "loss"],
  ]));
}

/**
 * @param {HTMLElement} list
 * @param {any[]} lines
 */
export function showLog(list, lines) {
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
  if (lines.length === 0) {
    list.replaceChildren(make("li", { className: "empty", text: "Nothing yet" }));
    return;
  }
  list.replaceChildren(...lines.map((line) => {
    const time = make("time", { text: format.secondOfDay(Date.parse(line.time)) });
    time.setAttribute("datetime", line.time);
    const item = make("li", {}, time, document.createTextNode(line.text));
    item.dataset.kind = line.kind;
    return item;
  }));
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}
