/**
 * Polls GET /data where a WebSocket cannot be had: once a second, only what is new since the last
 * answer, never in a hidden tab.
 */

const POLL_MS = 1000;
const SLOWEST_POLL_MS = 5000;
const TIMEOUT_MS = 8000;

/**
 * @typedef {object} FeedEvents
 * @property {(answer: any) => void} onAnswer    a parsed answer of /data
 * @property {(text: string, isFinal: boolean) => void} onFailure  no answer, or one that says no
 */

export class Feed {
  /** @param {FeedEvents} events */
  constructor(events) {
    this.events = events;
    /** @type {{symbol: string | null, interval: string | null}} */
    this.selection = { symbol: null, interval: null };
    this.cursor = "";
    this.failures = 0;
    this.timer = 0;
    /** @type {AbortController | null} */
    this.request = null;
    document.addEventListener("visibilitychange", () => this.#onVisibility());
  }

  /**
   * Show another symbol or interval (null: the server's choice) and poll at once.
   * @param {string | null} symbol
   * @param {string | null} interval
   */
  select(symbol, interval) {
    this.selection = { symbol, interval };
    this.cursor = "";
    this.pollNow();
  }

  pollNow() {
    clearTimeout(this.timer);
    this.request?.abort();
    void this.#poll();
  }

  #onVisibility() {
    if (document.hidden) clearTimeout(this.timer);
    else this.pollNow();
  }

  async #poll() {
    const request = new AbortController();
    this.request = request;
    const timeout = setTimeout(() => request.abort(), TIMEOUT_MS);
    /** @type {any} */
    let answer = null;
    let failure = null;
    try {
      answer = await this.#fetch(request.signal);
    } catch (error) {
      failure = error;
    }
    clearTimeout(timeout);
    // Asked for something else meanwhile: that request goes on, this one is forgotten.
    if (this.request !== request) return;
    this.failures = failure === null ? 0 : this.failures + 1;
    this.#schedule();
    if (failure === null) {
      this.cursor = answer.cursor;
      this.events.onAnswer(answer);
    } else {
      this.events.onFailure(reasonOf(failure), failure instanceof AnswerError);
    }
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
    if (!response.ok) throw new AnswerError(String(answer.error ?? response.statusText));
    return answer;
  }

  #schedule() {
    this.request = null;
    if (document.hidden) return;
    const wait = Math.min(SLOWEST_POLL_MS, POLL_MS * 2 ** Math.max(0, this.failures - 1));
    this.timer = setTimeout(() => void this.#poll(), wait);
  }
}

/** The server is there and says what is wrong. */
class AnswerError extends Error {}

/** @param {unknown} error */
function reasonOf(error) {
  if (error instanceof AnswerError) return error.message;
  return "Milo does not answer.";
}
