/**
 * What changes after the history was loaded: told over one WebSocket. Where that cannot be had,
 * GET /data is asked again and again.
 */

import { LiveSocket } from "./socket.js";
import { FIRST_ROWS, ITEMS, failureOf } from "./source.js";

/** So many sockets in a row must fail before the page does without. */
const LOSSES_TO_POLL = 3;
/** How often a page without a WebSocket tries to get one. */
const REST_MS = 60_000;

export class Live {
  /** @param {import("./source.js").Source} source */
  constructor(source) {
    this.source = source;
    /** @type {number[] | null} */
    this.forming = null;
    /** Items that end before it are those that the server believes to be here. */
    this.settled = 0;
    /** @type {import("./feed.js").Feed | null} */
    this.feed = null;
    this.socket = new LiveSocket({
      onOpen: () => this.#onOpen(),
      onMessage: (message) => this.#hear(message),
      onError: (text) => {
        // What cannot be shown at all is said in the answer to the request for its history.
        if (source.name !== "") source.fail({ kind: "lost", text });
      },
      onLost: (losses) => void this.#onLost(losses),
    });
    this.socket.open();
  }

  /**
   * Tell of what is selected now.
   * @returns {boolean} whether that needs no history
   */
  ask() {
    if (this.feed === null) this.socket.open();
    else this.feed.select(this.source.selection);
    return this.feed !== null;
  }

  close() {
    this.socket.close();
    this.feed?.stop();
    this.feed = null;
  }

  /** Hear of what follows the history that is here. */
  watch() {
    const { source } = this;
    this.socket.ask(() => {
      const { zigzag } = source.items;
      this.settled = zigzag?.findLast((item) => item.confirmed)?.index ?? 0;
      const { closed } = source.chart.series;
      const known = { series: source.name, total: closed, settled: this.settled };
      return { ...source.selection, ...(source.name === "" ? {} : known) };
    });
  }

  #onOpen() {
    const { source } = this;
    if (this.feed !== null || source.name !== "") this.watch();
    else if (source.requests.size === 0) void source.load();
  }

  /** @param {any} message */
  #hear(message) {
    const { source } = this;
    if (this.feed !== null) {
      // It can be had after all.
      this.feed.stop();
      this.feed = null;
      void source.load(FIRST_ROWS);
    } else if (source.name !== "") {
      if (message.reload) void source.load();
      else this.#take(message);
    }
  }

  /** @param {number} losses */
  async #onLost(losses) {
    const { source } = this;
    if (this.feed !== null) {
      this.socket.restMs = REST_MS;
      return;
    }
    // A WebSocket that is refused tells no reason; the same server does, where it is asked plainly.
    try {
      await source.fetch({ count: 0 });
      if (losses >= LOSSES_TO_POLL && this.feed === null) await this.#poll();
    } catch (error) {
      if (!this.socket.isOpen) source.fail(failureOf(error));
    }
  }

  /** Do without a WebSocket for now. */
  async #poll() {
    const { source } = this;
    const [{ Feed }, { applyAnswer }] = await Promise.all([
      import("./feed.js"),
      import("../chart/answer.js"),
    ]);
    if (this.socket.isOpen) return;
    source.forget();
    this.socket.restMs = REST_MS;
    this.feed = new Feed({
      onAnswer: (answer) => {
        applyAnswer(source.chart, answer);
        source.meta = answer.meta;
        source.events.onAnswer(answer);
      },
      onFailure: (failure) => source.fail(failure),
    });
    this.feed.select(source.selection);
  }

  /** @param {any} message */
  #take(message) {
    const { source } = this;
    const { chart, meta } = source;
    const { series } = chart;
    const rows = message.rows ?? [];
    const first = rows.length === 0 ? series.closed : message.total - rows.length;
    const { symbol, interval } = message.meta ?? meta;
    // Of another market, still under way when this one was chosen; or candles are missing between.
    if (symbol !== meta.symbol || interval !== meta.interval || first > series.closed) {
      this.watch();
      return;
    }
    if (message.live !== undefined) this.forming = message.live;
    const added = rows.slice(series.closed - first);
    if (added.length > 0 || message.live !== undefined) {
      chart.update(() => series.append(added, this.forming));
    }
    this.#takeItems(message);
    source.hearScript(message.said ?? []);
    this.#takeMembers(message);
    source.events.onAnswer(source.answer({ ...message, increment: !source.isNew }));
    source.isNew = false;
  }

  /** @param {any} message */
  #takeItems(message) {
    const { items, chart } = this.source;
    const isFirst = message.seq === 1;
    for (const [list, begin, end] of ITEMS) {
      const change = message[list];
      if (!isFirst && !change) continue;
      if (isFirst) items[list] = items[list].filter((item) => item[end] < this.settled);
      if (change) {
        const kept = items[list].filter((item) => item[begin] < change.from);
        const { first } = chart.series;
        const added = change.items.filter((/** @type {any} */ item) => item[end] >= first);
        items[list] = [...kept, ...added];
      }
      chart.setItems({ [list]: items[list] });
    }
  }

  /** @param {any} message */
  #takeMembers(message) {
    const { source } = this;
    const { chart } = source;
    const meta = message.meta ?? source.meta;
    source.meta = meta;
    meta.clock = new Date(message.clockMs).toISOString();
    meta.marketAgeMs = message.ageMs;
    chart.decimals = meta.priceDecimals;
    chart.title = meta.title;
    if (message.position !== undefined) {
      source.position = message.position;
      chart.setPosition(message.position);
    }
    if (message.trades) chart.setTrades(message.trades);
  }
}
