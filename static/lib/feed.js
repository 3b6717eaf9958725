/**
 * Asks GET /data again and again where a WebSocket cannot be had: only what is new since the last
 * answer, never in a hidden tab.
 */

import { Refusal, failureOf } from "./source.js";

const POLL_MS = 5000;
const TIMEOUT_MS = 8000;

/**
 * @typedef {object} FeedEvents
 * @property {(answer: any) => void} onAnswer  a parsed answer of /data
 * @property {(failure: import("./source.js").Failure) => void} onFailure
 */

export class Feed {
  /** @param {FeedEvents} events */
  constructor(events) {
    this.events = events;
    /** @type {{symbol: string | null, interval: string | null}} */
    this.selection = { symbol: null, interval: null };
    this.cursor = "";
    this.timer = 0;
    /** @type {AbortController | null} */
    this.request = null;
    this.onVisibility = () => {
      if (document.hidden) clearTimeout(this.timer);
      else this.#pollNow();
    };
    document.addEventListener("visibilitychange", this.onVisibility);
  }

  /**
   * Show another symbol or interval (null: the server's choice) and ask at once.
   * @param {{symbol: string | null, interval: string | null}} selection
   */
  select(selection) {
    this.selection = selection;
    this.cursor = "";
    this.#pollNow();
  }

  stop() {
    document.removeEventListener("visibilitychange", this.onVisibility);
    clearTimeout(this.timer);
    this.request?.abort();
    this.request = null;
  }

  #pollNow() {
    clearTimeout(this.timer);
    this.request?.abort();
    void this.#poll();
  }

  async #poll() {
    const request = new AbortController();
    this.request = request;
    const timeout = setTimeout(() => request.abort(), TIMEOUT_MS);
    /** @type {any} */
    let answer = null;
    /** @type {import("./source.js").Failure | null} */
    let failure = null;
    try {
      answer = await this.#fetch(request.signal);
    } catch (error) {
      failure = failureOf(error) ?? failureOf(null);
    }
    clearTimeout(timeout);
    // Asked for something else meanwhile: that request goes on, this one is forgotten.
    if (this.request !== request) return;
    this.request = null;
    if (!document.hidden) this.timer = setTimeout(() => void this.#poll(), POLL_MS);
    if (failure !== null) {
      this.events.onFailure(failure);
      return;
    }
    this.cursor = answer.cursor;
    this.events.onAnswer(answer);
  }

  /** @param {AbortSignal} signal */
  async #fetch(signal) {
    const query = new URLSearchParams();
    const { symbol, interval } = this.selection;
    if (symbol !== null) query.set("symbol", symbol);
    if (interval !== null) query.set("interval", interval);
    if (this.cursor !== "") query.set("since", this.cursor);
    const response = await fetch(`/data?${query}`, { signal, cache: "no-store" });
    const answer = await response.json();
    if (!response.ok) throw new Refusal(response.status, answer);
    return answer;
  }
}
