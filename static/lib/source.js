/**
 * The history that the chart shows: its newest rows as columns at once, older ones as the view nears
 * them. What changes afterwards is told by `Live`.
 */

import { Series } from "../chart/columns.js";
import { decodeHistory } from "../chart/history.js";

export const FIRST_ROWS = 5000;
const MOST_ROWS = 200_000;
const CANDLE_COLUMNS = 6;
const ANSWER_LIMIT_MS = 15_000;
const AGAIN_MS = 2000;
/** Of each list of items: the indices at which one begins and ends. */
export const ITEMS = /** @type {const} */ ([
  ["zigzag", "index", "index"],
  ["divergences", "startIndex", "endIndex"],
]);

/**
 * Why there is nothing new. `lost`: nobody answers, it is tried again; `refused`: the answer is no,
 * and will be; `locked`: whoever looks must show that they may. The text is empty where no answer
 * came at all.
 * @typedef {{kind: "lost" | "refused" | "locked", text: string, hasPassword?: boolean}} Failure
 */

/**
 * @typedef {object} SourceEvents
 * @property {(answer: any) => void} onAnswer  the chart holds new data; members as in an answer of
 *   /data, lists that have not changed are null
 * @property {(failure: Failure) => void} onFailure
 */

export class Source {
  /**
   * @param {import("../chart/view.js").Chart} chart
   * @param {SourceEvents} events
   */
  constructor(chart, events) {
    this.chart = chart;
    this.events = events;
    /** What follows the history, as soon as somebody listens to it. @type {import("./live.js").Live | null} */
    this.live = null;
    /** @type {{symbol: string | null, interval: string | null}} */
    this.selection = { symbol: null, interval: null };
    /** The server's name of the history that is here; empty: none is. */
    this.name = "";
    /** What a script said on candles, by their open time. @type {Map<number, any>} */
    this.said = new Map();
    /** @type {any} */
    this.meta = null;
    /** @type {any} */
    this.position = null;
    /** @type {{[name: string]: any[]}} */
    this.items = {};
    /** Whether nothing was told of this market yet. */
    this.isNew = true;
    this.timer = 0;
    /** Requests under way; another selection ends them. @type {Set<AbortController>} */
    this.requests = new Set();
    /** @type {Promise<boolean> | null} */
    this.older = null;
    /** The range that was asked for last. @type {[number, number] | null} */
    this.wanted = null;
    chart.needsOlder = () => void this.#loadOlder();
  }

  /**
   * Show another symbol or interval (null: the server's choice).
   * @param {string | null} symbol
   * @param {string | null} interval
   */
  select(symbol, interval) {
    this.selection = { symbol, interval };
    if (!this.live?.ask()) void this.load(FIRST_ROWS);
  }

  /** Try again at once. */
  retry() {
    if (!this.live?.ask()) void this.load();
  }

  /**
   * Show candles by their indices, after loading those that are not here.
   * @param {number} first
   * @param {number} last
   */
  async showRange(first, last) {
    /** @type {[number, number]} */
    const wanted = [first, last];
    this.wanted = wanted;
    const { chart } = this;
    while (chart.series.first > first) {
      const hasMore = await this.#loadOlder(chart.series.first - first);
      if (!hasMore || this.wanted !== wanted) return;
    }
    this.chart.showRange(first, last);
  }

  /**
   * The whole history in `buckets` parts of like length; null where it cannot be had now.
   * @param {number} buckets
   * @returns {Promise<{total: number, low: Float64Array, high: Float64Array, close: Float64Array} | null>}
   */
  async overview(buckets) {
    const { name } = this;
    if (name === "") return null;
    try {
      const { header, overview } = await this.fetch({ count: 0, overview: buckets });
      if (header.series !== name || this.name !== name || overview === null) return null;
      return { total: header.total, ...overview };
    } catch {
      return null;
    }
  }

  /** Let go of the history and of what is under way; the chart keeps its picture. */
  forget() {
    this.name = "";
    this.older = null;
    this.wanted = null;
    clearTimeout(this.timer);
    for (const request of this.requests) request.abort();
    this.requests.clear();
  }

  /** Whoever looks at older candles shall find them again after the server was started anew. */
  #rowsInUse() {
    const { chart } = this;
    const behind = chart.isFollowing ? 0 : chart.series.closed - chart.visible()[0];
    return Math.min(MOST_ROWS, FIRST_ROWS + behind);
  }

  /**
   * Load the newest rows, and start anew with them.
   * @param {number} [count]  without: as many as are looked at
   */
  async load(count = this.#rowsInUse()) {
    this.forget();
    try {
      this.#begin(await this.fetch({ count }));
      this.live?.watch();
    } catch (error) {
      const failure = failureOf(error);
      this.fail(failure);
      if (failure?.kind !== "lost") return;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => void this.load(count), AGAIN_MS);
    }
  }

  /** @param {Failure | null} failure */
  fail(failure) {
    if (failure === null) return;
    if (failure.kind === "locked") {
      this.forget();
      this.live?.close();
    }
    this.events.onFailure(failure);
  }

  /**
   * Show a history from its newest rows, or from where the view was if it is the same market.
   * @param {import("../chart/history.js").History} history
   */
  #begin({ header, columns }) {
    const { chart } = this;
    const { meta } = header;
    const market = [meta.venue, meta.symbol, meta.interval].join(" ");
    const isSameMarket = market === chart.market && chart.series.count > 0;
    const { isFollowing, spacing, rawTrades, position } = chart;
    const rightMs = chart.series.timeOfSlot(chart.right);
    const names = header.columns.slice(CANDLE_COLUMNS);
    const series = new Series({ interval: meta.interval, intervalMs: meta.intervalMs, names });
    series.put(header.first, columns);
    if (header.count === 0) series.first = series.closed = header.first;
    chart.market = market;
    chart.decimals = meta.priceDecimals;
    chart.title = meta.title;
    chart.setSeries(series);
    if (isSameMarket) {
      chart.spacing = spacing;
      chart.goLive();
      if (!isFollowing) chart.right = series.slotOfTime(rightMs);
      chart.clampView();
      chart.setTrades(rawTrades);
      chart.setPosition(position);
    }
    this.name = header.series;
    this.meta = meta;
    this.isNew = !isSameMarket;
    if (this.isNew) this.position = null;
    this.said.clear();
    this.hearScript(header.said);
    this.items = { zigzag: header.zigzag, divergences: header.divergences };
    chart.setItems(this.items);
    chart.drawNow();
    this.events.onAnswer(this.answer({ increment: isSameMarket }));
  }

  /**
   * @param {number} [rows]  how many at least; without, as many as the view needs
   * @returns {Promise<boolean>} whether some came
   */
  #loadOlder(rows = 0) {
    const older = this.older ?? this.#fetchOlder(rows);
    this.older = older;
    void older.then(() => {
      if (this.older === older) this.older = null;
    });
    return older;
  }

  /** @param {number} rows */
  async #fetchOlder(rows) {
    const { chart, name } = this;
    const { series } = chart;
    if (name === "" || series.first === 0) return false;
    const [from, to] = chart.visible();
    const needed = chart.goal === "" ? Math.max(FIRST_ROWS, rows, 4 * (to - from)) : MOST_ROWS;
    try {
      const count = Math.min(MOST_ROWS, needed);
      const { header, columns } = await this.fetch({ count, end: series.first });
      const isNext = header.first + header.count === series.first && header.count > 0;
      if (this.name !== name || header.series !== name || !isNext) return false;
      this.hearScript(header.said);
      for (const [list, begin] of ITEMS) {
        this.items[list] = joined(header[list], this.items[list], begin);
      }
      chart.update(() => series.put(header.first, columns));
      chart.setItems(this.items);
      chart.setTrades(chart.rawTrades);
      return true;
    } catch {
      // Once more, but not at each step of the view.
      setTimeout(() => {
        chart.askedBefore = -1;
        chart.draw();
      }, AGAIN_MS);
      return false;
    }
  }

  /**
   * @param {{[name: string]: number}} asked
   * @returns {Promise<import("../chart/history.js").History>}
   */
  async fetch(asked) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...this.selection, ...asked })) {
      if (value !== null) query.set(name, String(value));
    }
    const request = new AbortController();
    this.requests.add(request);
    const timer = setTimeout(() => request.abort(new Error("too slow")), ANSWER_LIMIT_MS);
    try {
      const response = await fetch(`/history?${query}`, { cache: "no-store", signal: request.signal });
      if (!response.ok) throw new Refusal(response.status, await response.json());
      return decodeHistory(await response.arrayBuffer());
    } finally {
      clearTimeout(timer);
      this.requests.delete(request);
    }
  }

  /** @param {any[]} said */
  hearScript(said) {
    for (const item of said) this.said.set(item.openMs, item);
  }

  /**
   * What is told of the present state.
   * @param {{increment: boolean, trades?: any[] | null, log?: any[] | null}} change
   */
  answer({ increment, trades = null, log = null }) {
    return { increment, meta: this.meta, position: this.position, trades, log };
  }
}

/** The server is there and says no. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {{error: string, hasPassword?: boolean}} answer
   */
  constructor(status, answer) {
    super(String(answer.error));
    this.status = status;
    this.hasPassword = answer.hasPassword === true;
  }
}

/**
 * @param {unknown} error
 * @returns {Failure | null}  null where nobody waits for the answer any more
 */
export function failureOf(error) {
  if (error instanceof DOMException && error.name === "AbortError") return null;
  if (!(error instanceof Refusal)) return { kind: "lost", text: "" };
  const { message: text, status, hasPassword } = error;
  if (status === 401) return { kind: "locked", text, hasPassword };
  return { kind: status >= 500 ? "lost" : "refused", text };
}

/**
 * Older items and those that are here, each once: both lists have what reaches over the border.
 * @param {any[]} older
 * @param {any[]} here
 * @param {string} begin  the index by which they stand in order
 */
function joined(older, here, begin) {
  if (older.length === 0 || here.length === 0) return [...older, ...here];
  const [start, end] = [here[0][begin], older[older.length - 1][begin]];
  const known = new Set();
  for (const item of here) if (item[begin] <= end) known.add(JSON.stringify(item));
  const added = older.filter((item) => item[begin] < start || !known.has(JSON.stringify(item)));
  return [...added, ...here].sort((a, b) => a[begin] - b[begin]);
}
