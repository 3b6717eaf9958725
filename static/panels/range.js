/**
 * The whole history in a slim band below the chart, and a window over what is shown: drag it, drag
 * its edges, click beside it, or use the keys. Candles that are not here yet are loaded.
 */

import { make, mark } from "../lib/dom.js";
import { text } from "../lib/i18n.js";
import { candleTime, zoneName } from "../lib/zone.js";

const BUCKETS = 2000;
/** Room at both ends for the window's edges (CSS pixels); they lie outside of it. */
const EDGE_PX = 24;
const LEAST_WINDOW_PX = 4;
const LEAST_CANDLES = 10;
const KEY_PAN_SHARE = 0.1;
const KEY_EDGE_SHARE = 0.05;
/** The band is drawn anew when the history has grown by this share of it. */
const GROWN = 0.005;

/** @typedef {"window" | "from" | "to"} Part */

export class RangeSlider {
  /**
   * @param {HTMLElement} box
   * @param {import("../chart/view.js").Chart} chart
   * @param {import("../lib/source.js").Source} source
   */
  constructor(box, chart, source) {
    this.box = box;
    this.chart = chart;
    this.source = source;
    /** First and last candle shown, by index. */
    this.first = 0;
    this.last = 0;
    /** @type {{total: number, low: Float64Array, high: Float64Array} | null} */
    this.overview = null;
    /** The history that the band shows, or that is being asked for. */
    this.name = "";
    this.askedTotal = 0;
    /** Whether what the window stands over is still being loaded. */
    this.isLoading = false;
    /** @type {{part: Part, x: number, first: number, last: number} | null} */
    this.drag = null;
    this.canvas = document.createElement("canvas");
    /** @type {Record<Part, HTMLElement>} */
    this.parts = { window: this.#part("window"), from: this.#part("from"), to: this.#part("to") };
    box.append(this.canvas, this.parts.from, this.parts.window, this.parts.to);
    box.addEventListener("pointerdown", (event) => this.#onDown(event));
    box.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const name of ["pointerup", "pointercancel"]) {
      box.addEventListener(name, () => (this.drag = null));
    }
    new ResizeObserver(() => this.#draw()).observe(box);
    this.relabel();
  }

  /** Say everything anew, in the present language and zone. */
  relabel() {
    const { from, to, window: whole } = this.parts;
    mark(whole, "aria-label", text("range.window"));
    mark(from, "aria-label", text("range.from"));
    mark(to, "aria-label", text("range.to"));
    this.follow();
  }

  /** @param {Part} name */
  #part(name) {
    const part = make("div", { className: `range-${name}`, role: "slider", tabindex: "0" });
    part.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (name === "window" ? this.#moveByKey(event.key) : this.#resizeByKey(name, event.key)) {
        event.preventDefault();
      }
    });
    return part;
  }

  get total() {
    return this.chart.series.end;
  }

  get width() {
    return Math.max(1, this.box.clientWidth - 2 * EDGE_PX);
  }

  /** Show what the chart shows now. */
  follow() {
    const { chart, source } = this;
    const [from, to] = chart.visible();
    if (!this.isLoading) [this.first, this.last] = [from, Math.max(from, to - 1)];
    this.#place();
    const grown = this.total - this.askedTotal > Math.max(1, this.askedTotal * GROWN);
    if (source.name !== "" && (this.name !== source.name || grown)) void this.#load();
  }

  /** Draw the band in the present colours. */
  redraw() {
    this.#draw();
  }

  async #load() {
    const { source } = this;
    if (this.name !== source.name) this.overview = null;
    this.name = source.name;
    this.askedTotal = this.total;
    const overview = await source.overview(BUCKETS);
    if (this.name !== source.name) return;
    if (overview !== null) this.overview = overview;
    this.#draw();
  }

  // --- the picture ---------------------------------------------------------------------------

  #draw() {
    const { canvas, overview, width } = this;
    const dpr = Math.max(1, window.devicePixelRatio);
    canvas.width = Math.round(width * dpr);
    canvas.height = Math.round(this.box.clientHeight * dpr);
    const ctx = canvas.getContext("2d");
    if (ctx === null || overview === null) return;
    const { low, high, total } = overview;
    const least = low.reduce((a, b) => Math.min(a, b), Infinity);
    const most = high.reduce((a, b) => Math.max(a, b), -Infinity);
    const scale = (canvas.height - 4 * dpr) / (most - least || 1);
    const columns = Math.max(1, Math.round((canvas.width * total) / Math.max(total, this.total)));
    ctx.fillStyle = this.chart.theme.muted;
    for (let x = 0; x < columns; x += 1) {
      const start = Math.floor((x * low.length) / columns);
      const end = Math.max(start + 1, Math.floor(((x + 1) * low.length) / columns));
      let [bottom, top] = [Infinity, -Infinity];
      for (let k = start; k < end; k += 1) {
        bottom = Math.min(bottom, low[k]);
        top = Math.max(top, high[k]);
      }
      const y = Math.round((most - top) * scale);
      const height = Math.max(dpr, Math.round((top - bottom) * scale));
      ctx.fillRect(x, y + 2 * dpr, 1, height);
    }
    this.#place();
  }

  /** @param {number} index */
  #xOf(index) {
    return EDGE_PX + (index / Math.max(1, this.total)) * this.width;
  }

  #place() {
    const { first, last, parts, total } = this;
    const left = this.#xOf(first);
    const right = Math.max(left + LEAST_WINDOW_PX, this.#xOf(last + 1));
    parts.window.style.left = `${left}px`;
    parts.window.style.width = `${right - left}px`;
    parts.from.style.left = `${left - EDGE_PX}px`;
    parts.to.style.left = `${right}px`;
    mark(this.box, "aria-busy", String(this.isLoading));
    const [from, to] = [this.#nameOf(first), this.#nameOf(last)];
    const span = text("range.span", { from, to, zone: zoneName(this.chart.shownZone) });
    /** @type {[HTMLElement, number, string][]} */
    const values = [
      [parts.window, first, span], [parts.from, first, from], [parts.to, last, to],
    ];
    for (const [part, value, shown] of values) {
      mark(part, "aria-valuemin", "0");
      mark(part, "aria-valuemax", String(Math.max(0, total - 1)));
      mark(part, "aria-valuenow", String(value));
      mark(part, "aria-valuetext", shown);
    }
  }

  /** @param {number} index */
  #nameOf(index) {
    const { series } = this.chart;
    if (index >= series.first && index < series.end) {
      return candleTime(this.chart, index);
    }
    return text("range.loading", { index: index + 1, total: this.total });
  }

  // --- moving --------------------------------------------------------------------------------

  /**
   * @param {number} first
   * @param {number} last
   */
  async #show(first, last) {
    const { chart, total } = this;
    const count = Math.min(total, Math.max(LEAST_CANDLES, last - first + 1));
    const start = Math.max(0, Math.min(total - count, Math.round(first)));
    [this.first, this.last] = [start, start + Math.round(count) - 1];
    this.isLoading = this.first < chart.series.first;
    this.#place();
    const wanted = this.first;
    await this.source.showRange(this.first, this.last);
    if (this.first !== wanted) return;
    this.isLoading = false;
    this.follow();
  }

  /**
   * @param {"from" | "to"} part
   * @param {number} index
   */
  #showEdge(part, index) {
    if (part === "from") {
      const first = Math.max(0, Math.min(index, this.last + 1 - LEAST_CANDLES));
      void this.#show(first, this.last);
    } else {
      const last = Math.min(this.total - 1, Math.max(index, this.first - 1 + LEAST_CANDLES));
      void this.#show(this.first, last);
    }
  }

  /** @param {PointerEvent} event */
  #onDown(event) {
    if (event.button !== 0 || this.total === 0) return;
    event.preventDefault();
    this.box.setPointerCapture(event.pointerId);
    const part = /** @type {Part[]} */ (["window", "from", "to"]).find(
      (name) => this.parts[name] === event.target,
    );
    const x = event.clientX;
    this.parts[part ?? "window"].focus({ preventScroll: true });
    if (part === undefined) {
      // Beside the window: it comes there, and can be dragged on.
      const at = x - this.box.getBoundingClientRect().left - EDGE_PX;
      const count = this.last - this.first + 1;
      const first = (at / this.width) * this.total - count / 2;
      void this.#show(first, first + count - 1);
    }
    this.drag = { part: part ?? "window", x, first: this.first, last: this.last };
  }

  /** @param {PointerEvent} event */
  #onMove(event) {
    if (this.drag === null) return;
    const { part, x, first, last } = this.drag;
    const by = Math.round(((event.clientX - x) / this.width) * this.total);
    if (part === "window") void this.#show(first + by, last + by);
    else this.#showEdge(part, (part === "from" ? first : last) + by);
  }

  /**
   * @param {string} key
   * @returns {boolean} whether it is one of this slider's
   */
  #moveByKey(key) {
    const { chart } = this;
    const { plotWidth } = chart;
    switch (key) {
      case "ArrowLeft":
      case "ArrowDown":
        chart.panBy(plotWidth * KEY_PAN_SHARE);
        return true;
      case "ArrowRight":
      case "ArrowUp":
        chart.panBy(-plotWidth * KEY_PAN_SHARE);
        return true;
      case "PageDown":
        chart.panBy(plotWidth);
        return true;
      case "PageUp":
        chart.panBy(-plotWidth);
        return true;
      case "Home":
        chart.goFirst();
        return true;
      case "End":
        chart.goLive();
        return true;
      default:
        return false;
    }
  }

  /**
   * @param {"from" | "to"} part
   * @param {string} key
   * @returns {boolean} whether it is one of this slider's
   */
  #resizeByKey(part, key) {
    const index = part === "from" ? this.first : this.last;
    const step = Math.max(1, Math.round((this.last - this.first) * KEY_EDGE_SHARE));
    /** @type {Record<string, number>} */
    const goals = {
      ArrowLeft: index - step,
      ArrowDown: index - step,
      ArrowRight: index + step,
      ArrowUp: index + step,
      PageDown: index - 10 * step,
      PageUp: index + 10 * step,
      Home: 0,
      End: this.total - 1,
    };
    if (!(key in goals)) return false;
    this.#showEdge(part, goals[key]);
    return true;
  }
}
