/**
 * Where the page's data comes from: history as columns, then what changes, over one WebSocket.
 * Where a WebSocket cannot be had, GET /data is asked again and again.
 */

import { Series } from "../chart/columns.js";
import { decodeHistory } from "../chart/history.js";

const FIRST_ROWS = 5000;
const MOST_ROWS = 200_000;
const CANDLE_COLUMNS = 6;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** The server says something each second. */
const SILENCE_MS = 6000;
const NO_ANSWER = "Milo does not answer.";

/**
 * @typedef {object} SourceEvents
 * @property {(answer: any) => void} onAnswer  the chart holds new data; lists that have not changed
 *   are null, as in an answer of /data
 * @property {(text: string, isFinal: boolean) => void} onFailure  no data, or a refusal
 */

export class Source {
  /**
   * @param {import("../chart/view.js").Chart} chart
   * @param {SourceEvents} events
   */
  constructor(chart, events) {
    this.chart = chart;
    this.events = events;
    /** @type {{symbol: string | null, interval: string | null}} */
    this.selection = { symbol: null, interval: null };
    /** The server's name of the history that is here; empty: none is. */
    this.name = "";
    this.seq = 0;
    this.failures = 0;
    this.timer = 0;
    this.silence = 0;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {import("./feed.js").Feed | null} */
    this.feed = null;
    /** Counts selections and loads: what was asked for earlier is dropped when it comes. */
    this.turn = 0;
    /** @type {any[] | null} messages that wait for the history */
    this.waiting = null;
    /** @type {any} */
    this.meta = null;
    /** @type {any} */
    this.position = null;
    /** @type {number[] | null} */
    this.live = null;
    /** @type {{[name: string]: any[]}} */
    this.items = { zigzag: [], divergences: [] };
    chart.needsOlder = () => void this.#loadOlder();
    document.addEventListener("visibilitychange", () => this.#onVisibility());
  }

  /**
   * Show another symbol or interval (null: the server's choice).
   * @param {string | null} symbol
   * @param {string | null} interval
   */
  select(symbol, interval) {
    this.selection = { symbol, interval };
    this.name = "";
    this.failures = 0;
    if (this.feed !== null) this.feed.select(symbol, interval);
    else if (this.socket?.readyState === WebSocket.OPEN) this.#watch();
    else this.retry();
  }

  /** Try again at once. */
  retry() {
    if (this.feed !== null) this.feed.pollNow();
    else this.#connect();
  }

  // --- the socket ----------------------------------------------------------------------------

  #connect() {
    clearTimeout(this.timer);
    this.socket?.close();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    this.socket = socket;
    let hasSpoken = false;
    socket.addEventListener("open", () => this.#watch());
    socket.addEventListener("message", (event) => {
      if (this.socket !== socket) return;
      hasSpoken = true;
      this.failures = 0;
      this.#hear(JSON.parse(event.data));
    });
    socket.addEventListener("close", () => {
      if (this.socket !== socket) return;
      this.socket = null;
      void this.#lost(hasSpoken);
    });
    this.#listenForSilence();
  }

  #watch() {
    this.turn += 1;
    this.seq = 0;
    this.waiting = null;
    const { symbol, interval } = this.selection;
    const known = this.name === "" ? {} : { series: this.name, total: this.chart.series.closed };
    this.socket?.send(JSON.stringify({ watch: { symbol, interval, ...known } }));
    if (document.hidden) this.socket?.send('{"hidden": true}');
  }

  /** @param {any} message */
  #hear(message) {
    this.#listenForSilence();
    if (message.error !== undefined) {
      this.events.onFailure(message.error, this.name === "");
      return;
    }
    // What is still on its way for an earlier question has other numbers than the first.
    if (this.seq === 0 && message.seq !== 1) return;
    if (message.seq !== this.seq + 1) {
      this.#watch();
      return;
    }
    this.seq = message.seq;
    if (message.reload) {
      this.waiting = [message];
      void this.#load(message.series);
    } else if (this.waiting !== null) this.waiting.push(message);
    else this.#take(message);
  }

  /** @param {boolean} hasSpoken  whether this socket ever brought anything */
  async #lost(hasSpoken) {
    clearTimeout(this.silence);
    this.failures += 1;
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(6, this.failures - 1));
    if (!document.hidden) {
      this.timer = setTimeout(() => this.#connect(), wait * (0.5 + Math.random() / 2));
    }
    let text = NO_ANSWER;
    let isFinal = false;
    if (!hasSpoken) {
      // A refused WebSocket tells no reason; the same server does, where it is asked plainly.
      try {
        const response = await fetch("/history?count=0", { cache: "no-store" });
        if (response.ok && this.failures > 2) return this.#poll();
        if (!response.ok) {
          text = (await response.json()).error;
          isFinal = true;
        }
      } catch {
        // Nobody is there.
      }
    }
    if (this.socket === null || this.socket.readyState !== WebSocket.OPEN) {
      this.events.onFailure(text, isFinal);
    }
  }

  /** Do without a WebSocket from now on. */
  async #poll() {
    clearTimeout(this.timer);
    const [{ Feed }, { applyAnswer }] = await Promise.all([
      import("./feed.js"),
      import("../chart/answer.js"),
    ]);
    this.name = "";
    this.feed = new Feed({
      onAnswer: (answer) => {
        applyAnswer(this.chart, answer);
        this.events.onAnswer(answer);
      },
      onFailure: this.events.onFailure,
    });
    this.feed.select(this.selection.symbol, this.selection.interval);
  }

  #listenForSilence() {
    clearTimeout(this.silence);
    if (!document.hidden) this.silence = setTimeout(() => this.socket?.close(), SILENCE_MS);
  }

  #onVisibility() {
    if (this.feed !== null) return;
    if (document.hidden) clearTimeout(this.timer);
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ hidden: document.hidden }));
      this.#listenForSilence();
    } else if (!document.hidden) this.#connect();
  }

  // --- history -------------------------------------------------------------------------------

  /** @param {string} name  of the series that the server speaks of */
  async #load(name) {
    const turn = (this.turn += 1);
    try {
      const history = await this.#fetch({ count: FIRST_ROWS });
      if (turn !== this.turn) return;
      if (history.header.series !== name) return this.#watch();
      this.#begin(history, this.waiting?.[0].meta ?? this.meta);
      const messages = this.waiting ?? [];
      this.waiting = null;
      for (const message of messages) this.#take(message);
    } catch (error) {
      if (turn !== this.turn) return;
      this.events.onFailure(error instanceof Refusal ? error.message : NO_ANSWER, error instanceof Refusal);
      this.socket?.close();
    }
  }

  /**
   * Show a history from its newest rows, or from where the view was if it is the same market.
   * @param {import("../chart/history.js").History} history
   * @param {any} meta
   */
  #begin({ header, columns }, meta) {
    const { chart } = this;
    const market = [meta.venue, meta.symbol, meta.interval].join(" ");
    const isSameMarket = market === chart.market && chart.series.count > 0;
    const { isFollowing } = chart;
    const rightMs = chart.series.timeOfSlot(chart.right);
    const names = header.columns.slice(CANDLE_COLUMNS);
    const series = new Series({ interval: meta.interval, intervalMs: meta.intervalMs, names });
    series.put(header.first, columns);
    if (header.count === 0) series.first = series.closed = header.first;
    chart.market = market;
    const trades = chart.rawTrades;
    const { spacing } = chart;
    chart.setSeries(series);
    if (isSameMarket) {
      chart.spacing = spacing;
      chart.goLive();
      if (!isFollowing) chart.right = series.slotOfTime(rightMs);
      chart.clampView();
      chart.setTrades(trades);
    }
    this.name = header.series;
    this.live = null;
    this.items = { zigzag: header.zigzag, divergences: header.divergences };
    chart.setItems(this.items);
  }

  async #loadOlder() {
    const { chart, name } = this;
    const { series } = chart;
    if (name === "" || series.first === 0) return;
    const [from, to] = chart.visible();
    const count = Math.min(MOST_ROWS, Math.max(FIRST_ROWS, 4 * (to - from)));
    try {
      const { header, columns } = await this.#fetch({ count, end: series.first });
      if (this.name !== name || chart.series !== series || header.series !== name) return;
      if (header.first + header.count !== series.first) return;
      chart.update(() => series.put(header.first, columns));
      this.items = {
        zigzag: joined(header.zigzag, this.items.zigzag, "index"),
        divergences: joined(header.divergences, this.items.divergences, "startIndex"),
      };
      chart.setItems(this.items);
      chart.setTrades(chart.rawTrades);
    } catch {
      // Asked again when the view moves next.
      chart.askedBefore = -1;
    }
  }

  /** @param {{[name: string]: number}} asked */
  async #fetch(asked) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...this.selection, ...asked })) {
      if (value !== null) query.set(name, String(value));
    }
    const response = await fetch(`/history?${query}`, { cache: "no-store" });
    if (!response.ok) throw new Refusal((await response.json()).error);
    return decodeHistory(await response.arrayBuffer());
  }

  // --- changes -------------------------------------------------------------------------------

  /** @param {any} message */
  #take(message) {
    const { chart } = this;
    const { series } = chart;
    const isFirst = message.reload === true;
    if (message.live !== undefined) this.live = message.live;
    const rows = (message.rows ?? []).slice(
      Math.max(0, series.closed - (message.total - (message.rows?.length ?? 0))),
    );
    if (rows.length > 0 || message.live !== undefined) {
      chart.update(() => series.append(rows, this.live));
    }
    for (const [name, key] of [["zigzag", "index"], ["divergences", "startIndex"]]) {
      const change = message[name];
      if (!change) continue;
      const kept = this.items[name].filter((item) => item[key] < change.from);
      this.items[name] = [...kept, ...change.items.filter((/** @type {any} */ item) => item[key] >= series.first)];
      chart.setItems({ [name]: this.items[name] });
    }
    if (message.meta) this.meta = message.meta;
    this.meta.clock = new Date(message.clockMs).toISOString();
    this.meta.marketAgeMs = message.ageMs;
    chart.decimals = this.meta.priceDecimals;
    chart.title = this.meta.title;
    if (message.position !== undefined) {
      this.position = message.position;
      chart.setPosition(message.position);
    }
    if (message.trades) chart.setTrades(message.trades);
    this.events.onAnswer({
      increment: !isFirst,
      meta: this.meta,
      position: this.position,
      trades: message.trades ?? null,
      log: message.log ?? null,
    });
  }
}

/** The server is there and says no. */
class Refusal extends Error {}

/**
 * Older items and those that are here, each once.
 * @param {any[]} older
 * @param {any[]} here
 * @param {string} key  the index by which they stand in order
 */
function joined(older, here, key) {
  const known = new Set(here.map((item) => JSON.stringify(item)));
  const added = older.filter((item) => !known.has(JSON.stringify(item)));
  return [...added, ...here].sort((a, b) => a[key] - b[key]);
}
