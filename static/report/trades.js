/**
 * The trade list of a report: sorted by any column, filtered, a part of it at a time.
 */

import { fixed, money, openTime, price } from "../lib/format.js";

const FIRST_ROWS = 100;
const MORE_ROWS = 500;
const MINUTE_MS = 60_000;
// Quantities came with 7 digits.
const quantity = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 7 });

/** @typedef {Record<string, Float64Array | Float32Array>} Columns */

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {(place: number) => number | string} key  what it is sorted by
 * @property {(place: number) => string} text
 * @property {boolean} [isWord]
 * @property {(place: number) => string} [tone]
 */

/** @type {Record<string, (trades: Columns, place: number) => boolean>} */
const FILTERS = {
  All: () => true,
  Long: (trades, place) => trades.isLong[place] === 1,
  Short: (trades, place) => trades.isLong[place] !== 1,
  Won: (trades, place) => trades.net[place] > 0,
  Lost: (trades, place) => trades.net[place] < 0,
};

export class TradeList {
  /**
   * @param {any} report
   * @param {Columns} trades
   * @param {(place: number) => void} onChosen
   */
  constructor(report, trades, onChosen) {
    this.trades = trades;
    this.onChosen = onChosen;
    this.columns = columnsOf(report, trades);
    this.filter = "All";
    this.sorted = 0;
    this.isDown = true;
    this.shown = FIRST_ROWS;
    /** @type {number[]} */
    this.places = [];
    this.head = byId("trade-head");
    this.body = byId("trade-body");
    this.more = byId("trade-more");
    this.count = byId("trade-count");
    this.#filters();
    this.#heads();
    this.more.addEventListener("click", () => {
      this.shown += MORE_ROWS;
      this.#rows();
    });
    this.#update();
  }

  #filters() {
    const group = byId("trade-filters");
    for (const name of Object.keys(FILTERS)) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.setAttribute("aria-pressed", String(name === this.filter));
      button.addEventListener("click", () => {
        this.filter = name;
        for (const other of group.children) {
          other.setAttribute("aria-pressed", String(other === button));
        }
        this.shown = FIRST_ROWS;
        this.#update();
      });
      group.append(button);
    }
  }

  #heads() {
    const row = document.createElement("tr");
    this.columns.forEach((column, index) => {
      const cell = document.createElement("th");
      if (column.isWord) cell.className = "word";
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = column.title;
      button.addEventListener("click", () => {
        this.isDown = this.sorted === index ? !this.isDown : !column.isWord;
        this.sorted = index;
        this.#update();
      });
      cell.append(button);
      row.append(cell);
    });
    this.head.replaceChildren(row);
  }

  #update() {
    const { trades } = this;
    const { key } = this.columns[this.sorted];
    const way = this.isDown ? -1 : 1;
    const isWanted = FILTERS[this.filter];
    this.places = Array.from(trades.net.keys()).filter((place) => isWanted(trades, place));
    this.places.sort((a, b) => way * compared(key(a), key(b)) || a - b);
    const cells = this.head.querySelectorAll("th");
    cells.forEach((cell, index) => {
      cell.ariaSort = index === this.sorted ? (this.isDown ? "descending" : "ascending") : "none";
    });
    this.#rows();
  }

  #rows() {
    const rows = this.places.slice(0, this.shown).map((place) => this.#row(place));
    this.body.replaceChildren(...rows);
    const left = this.places.length - rows.length;
    this.more.hidden = left <= 0;
    this.more.textContent = `Show ${Math.min(left, MORE_ROWS)} more of ${fixed(left, 0)}`;
    this.count.textContent = `${fixed(this.places.length, 0)} shown`;
  }

  /** @param {number} place */
  #row(place) {
    const row = document.createElement("tr");
    row.tabIndex = 0;
    for (const column of this.columns) {
      const cell = document.createElement("td");
      cell.textContent = column.text(place);
      const classes = [column.isWord ? "word" : "", column.tone ? column.tone(place) : ""];
      cell.className = classes.filter(Boolean).join(" ");
      row.append(cell);
    }
    row.addEventListener("click", () => this.onChosen(place));
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.onChosen(place);
    });
    return row;
  }
}

/**
 * @param {any} report
 * @param {Columns} trades
 * @returns {Column[]}
 */
function columnsOf(report, trades) {
  /** @typedef {(place: number) => number} Key */
  /** @typedef {(place: number) => string} Text */
  const word = (/** @type {string} */ title, /** @type {Text} */ text) => ({
    title,
    text,
    key: text,
    isWord: true,
  });
  const number = (
    /** @type {string} */ title,
    /** @type {Key} */ key,
    /** @type {(value: number, place: number) => string} */ text,
  ) => ({ title, key, text: (/** @type {number} */ place) => text(key(place), place) });
  const of = (/** @type {string} */ name) => (/** @type {number} */ place) => trades[name][place];
  const time = (/** @type {number} */ ms) => openTime(ms, MINUTE_MS);
  const priced = (/** @type {number} */ value, /** @type {number} */ place) =>
    priceOf(report, trades, place, value);
  const tone = (/** @type {number} */ place) => toneOf(trades.net[place]);
  const columns = [
    number("#", (place) => place + 1 + report.tradesBefore, (value) => fixed(value, 0)),
    word("Script", (place) => report.scripts[trades.script[place]]),
    word("Symbol", (place) => report.symbols[trades.symbol[place]]),
    word("Side", (place) => (trades.isLong[place] ? "▲ long" : "▼ short")),
    number("Entered", of("entryMs"), time),
    number("Price", of("entry"), priced),
    number("Exited", of("exitMs"), time),
    number("Price", of("exit"), priced),
    word("Why", (place) => whyOf(report, trades, place)),
    number("Held", (place) => trades.exitMs[place] - trades.entryMs[place], heldText),
    number("Quantity", of("qty"), (value) => quantity.format(value)),
    { ...number("Net USDT", of("net"), (value) => money(String(value), true)), tone },
    { ...number("R", of("r"), (value) => (Number.isNaN(value) ? "--" : fixed(value, 2))), tone },
  ];
  const single = new Set();
  if (report.scripts.length < 2) single.add("Script");
  if (report.symbols.length < 2) single.add("Symbol");
  return columns.filter(({ title }) => !single.has(title));
}

/**
 * @param {any} report
 * @param {Columns} trades
 * @param {number} place
 */
export function whyOf(report, trades, place) {
  const flags = trades.flags[place];
  const marks = (flags & 1 ? " ?" : "") + (flags & 2 ? " ^" : "") + (flags & 4 ? " !" : "");
  return flags & 8 ? "open" : report.reasons[trades.reason[place]] + marks;
}

/** @param {number} net */
export const toneOf = (net) => (net > 0 ? "gain" : net < 0 ? "loss" : "");

/**
 * A price of a trade's market.
 * @param {any} report
 * @param {Columns} trades
 * @param {number} place
 * @param {number} value
 */
export function priceOf(report, trades, place, value) {
  return price(Number(value.toPrecision(12)), report.decimals[trades.symbol[place]]);
}

/** @param {number} ms */
export function heldText(ms) {
  const minutes = Math.round(ms / MINUTE_MS);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/**
 * @param {number | string} a
 * @param {number | string} b
 */
function compared(a, b) {
  if (typeof a === "string" || typeof b === "string") {
    return String(a) < String(b) ? -1 : Number(a !== b);
  }
  // What is undefined stands below every number.
  const [x, y] = [Number.isNaN(a) ? -Infinity : a, Number.isNaN(b) ? -Infinity : b];
  return x < y ? -1 : Number(x > y);
}

/** @param {string} id */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}
