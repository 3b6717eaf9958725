/**
 * A chart over time: panes above one another, one time axis, and a view that several charts share.
 *
 * Times are ms UTC, drawing happens in device pixels, the public coordinates are CSS pixels.
 */

import { PriceScale, priceTicks, timeTicks } from "../chart/scale.js";
import { openTime } from "../lib/format.js";
import { placeBefore } from "./data.js";

const TIME_AXIS_PX = 22;
const GAP_PX = 10;
const LEAST_CANDLES = 12;
// Ticks of the candle chart's axis count slots; here a slot is a millisecond.
const CLOCK = {
  count: 1,
  intervalMs: 1,
  timeOfSlot: (/** @type {number} */ ms) => ms,
  slotOfTime: (/** @type {number} */ ms) => ms,
};

/** The range of times in view and the time that is pointed at, for all charts of the page. */
export class View {
  /**
   * @param {number} firstMs
   * @param {number} lastMs
   * @param {number} stepMs  the length of a candle
   */
  constructor(firstMs, lastMs, stepMs) {
    this.firstMs = firstMs;
    this.lastMs = Math.max(lastMs, firstMs + stepMs);
    this.stepMs = stepMs;
    this.leastMs = Math.min(this.lastMs - firstMs, LEAST_CANDLES * stepMs);
    this.fromMs = firstMs;
    this.toMs = this.lastMs;
    /** @type {number | null} */
    this.pointedMs = null;
    /** @type {(() => void)[]} */
    this.listeners = [];
    /** @type {Map<TimeChart, number>} */
    this.widths = new Map();
  }

  /**
   * @param {number} fromMs
   * @param {number} toMs
   */
  show(fromMs, toMs) {
    const whole = this.lastMs - this.firstMs;
    const span = Math.min(whole, Math.max(this.leastMs, toMs - fromMs));
    const from = (fromMs + toMs - span) / 2;
    this.fromMs = Math.min(Math.max(from, this.firstMs), this.lastMs - span);
    this.toMs = this.fromMs + span;
    this.changed();
  }

  /**
   * The width of all price axes, so that times stand below one another; tells of a change.
   * @param {TimeChart} chart
   * @param {number} width  what that chart needs, device pixels
   */
  axisWidth(chart, width) {
    const before = Math.max(0, ...this.widths.values());
    this.widths.set(chart, width);
    const now = Math.max(...this.widths.values());
    if (now !== before) this.changed();
    return now;
  }

  /** @param {number | null} ms */
  point(ms) {
    if (ms === this.pointedMs) return;
    this.pointedMs = ms;
    this.changed();
  }

  changed() {
    for (const listener of this.listeners) listener();
  }
}

/**
 * @typedef {object} Pane
 * @property {number} share  of the height
 * @property {(fromMs: number, toMs: number) => [number, number]} range  lowest and highest value
 * @property {(value: number) => string} label
 * @property {(paint: Paint) => void} draw
 * @property {string} title
 * @property {boolean} [isTitleBelow]  where the line hangs from the top
 * @property {number} [tick]
 */

/**
 * What every drawing function needs to know.
 * @typedef {object} Paint
 * @property {CanvasRenderingContext2D} ctx
 * @property {number} dpr
 * @property {Record<string, string>} theme
 * @property {PriceScale} scale
 * @property {(ms: number) => number} xOf
 * @property {View} view
 * @property {number} right  the plot's right edge
 */

export class TimeChart {
  /**
   * @param {HTMLElement} box
   * @param {View} view
   * @param {ArrayLike<number>} times  where the crosshair may stand
   * @param {Pane[]} panes
   */
  constructor(box, view, times, panes) {
    this.box = box;
    this.view = view;
    this.times = times;
    this.panes = panes;
    /** @type {Record<string, string>} */
    this.theme = {};
    this.canvas = /** @type {HTMLCanvasElement} */ (box.querySelector("canvas"));
    this.ctx = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.series = { last: times.length - 1 };
    this.axisWidth = 0;
    this.plotWidth = 1;
    this.frame = 0;
    view.listeners.push(() => this.draw());
    new ResizeObserver(() => this.drawNow()).observe(box);
  }

  // --- what the input asks for ----------------------------------------------------------------

  /** @param {number} x */
  msAt(x) {
    const { fromMs, toMs } = this.view;
    return fromMs + ((toMs - fromMs) * x) / this.plotWidth;
  }

  zoomCentre() {
    const { pointedMs, fromMs, toMs } = this.view;
    if (pointedMs === null) return this.plotWidth / 2;
    return ((pointedMs - fromMs) / (toMs - fromMs)) * this.plotWidth;
  }

  /**
   * @param {number} x  stays where it is
   * @param {number} factor
   */
  zoomAt(x, factor) {
    const { fromMs, toMs, leastMs, lastMs, firstMs } = this.view;
    const middle = this.msAt(x);
    const span = Math.min(lastMs - firstMs, Math.max(leastMs, (toMs - fromMs) / factor));
    const from = middle - (span * x) / this.plotWidth;
    this.view.show(from, from + span);
  }

  /** @param {number} pixels */
  panBy(pixels) {
    const { fromMs, toMs } = this.view;
    const by = (-pixels / this.plotWidth) * (toMs - fromMs);
    this.view.show(fromMs + by, toMs + by);
  }

  fit() {
    this.view.show(this.view.firstMs, this.view.lastMs);
  }

  reset() {
    this.fit();
  }

  goLive() {
    const { fromMs, toMs, lastMs } = this.view;
    this.view.show(lastMs - (toMs - fromMs), lastMs);
  }

  /**
   * @param {number} x
   * @param {number} _y
   */
  point(x, _y) {
    if (x > this.plotWidth) this.view.point(null);
    else this.view.point(this.times[placeBefore(this.times, this.msAt(x))] ?? null);
  }

  unpoint() {
    this.view.point(null);
  }

  crosshairIndex() {
    const ms = this.view.pointedMs;
    return ms === null ? -1 : placeBefore(this.times, ms);
  }

  /** @param {number} by */
  step(by) {
    const { fromMs, toMs } = this.view;
    const now = this.crosshairIndex();
    this.pointAt(now < 0 ? placeBefore(this.times, (fromMs + toMs) / 2) : now + by);
  }

  /** @param {number} index */
  pointAt(index) {
    const ms = this.times[Math.min(this.series.last, Math.max(0, index))];
    if (ms === undefined) return;
    const { fromMs, toMs } = this.view;
    const half = (toMs - fromMs) / 2;
    if (ms < fromMs || ms > toMs) this.view.show(ms - half, ms + half);
    this.view.point(ms);
  }

  // --- drawing --------------------------------------------------------------------------------

  /** Draw with the next frame, once however often it is asked for. */
  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const { ctx, canvas, box, theme } = this;
    if (theme.surface === undefined) return;
    const dpr = window.devicePixelRatio || 1;
    const width = Math.round(box.clientWidth * dpr);
    const height = Math.round(box.clientHeight * dpr);
    if (width < 40 || height < 40) return;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    ctx.fillStyle = theme.surface;
    ctx.fillRect(0, 0, width, height);
    ctx.font = `${Math.round(11 * dpr)}px ${theme.font}`;
    const laid = this.#layout(height, dpr);
    const bottom = height - TIME_AXIS_PX * dpr;
    const right = width - this.axisWidth;
    this.plotWidth = right / dpr;
    const { fromMs, toMs } = this.view;
    const xOf = (/** @type {number} */ ms) => ((ms - fromMs) / (toMs - fromMs)) * right;
    this.#timeAxis(xOf, right, bottom, dpr);
    for (const { pane, scale, ticks } of laid) {
      this.#pane({ ctx, dpr, theme, scale, xOf, view: this.view, right }, pane, ticks);
    }
    this.#crosshair(xOf, bottom, dpr, laid);
  }

  /**
   * @param {number} height
   * @param {number} dpr
   */
  #layout(height, dpr) {
    const { fromMs, toMs } = this.view;
    const room = height - TIME_AXIS_PX * dpr - GAP_PX * dpr * this.panes.length;
    let top = GAP_PX * dpr;
    let widest = 0;
    const laid = this.panes.map((pane) => {
      const [low, high] = padded(pane.range(fromMs, toMs));
      const bottom = top + room * pane.share;
      const scale = new PriceScale(low, high, top, bottom);
      top = bottom + GAP_PX * dpr;
      const ticks = priceTicks(scale, 34 * dpr, pane.tick ?? 1e-9);
      for (const tick of ticks) {
        widest = Math.max(widest, this.ctx.measureText(pane.label(tick)).width);
      }
      return { pane, scale, ticks };
    });
    this.axisWidth = this.view.axisWidth(this, Math.ceil(widest + 14 * dpr));
    return laid;
  }

  /**
   * @param {Paint} paint
   * @param {Pane} pane
   * @param {number[]} ticks
   */
  #pane(paint, pane, ticks) {
    const { ctx, theme, scale, right, dpr } = paint;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    for (const tick of ticks) {
      const y = Math.round(scale.yOf(tick));
      ctx.fillStyle = theme.grid;
      ctx.fillRect(0, y, right, Math.max(1, Math.floor(dpr)));
      ctx.fillStyle = theme.muted;
      ctx.fillText(pane.label(tick), right + 7 * dpr, y);
    }
    ctx.save();
    ctx.beginPath();
    ctx.rect(0, scale.top - GAP_PX * dpr * 0.5, right, scale.bottom - scale.top + GAP_PX * dpr);
    ctx.clip();
    pane.draw(paint);
    ctx.restore();
    ctx.fillStyle = theme.muted;
    ctx.textBaseline = pane.isTitleBelow ? "bottom" : "top";
    ctx.fillText(pane.title, 8 * dpr, pane.isTitleBelow ? scale.bottom : scale.top);
  }

  /**
   * @param {(ms: number) => number} xOf
   * @param {number} right
   * @param {number} bottom
   * @param {number} dpr
   */
  #timeAxis(xOf, right, bottom, dpr) {
    const { ctx, theme } = this;
    const { fromMs, toMs } = this.view;
    const apart = ((toMs - fromMs) * 74 * dpr) / right;
    ctx.textBaseline = "top";
    ctx.textAlign = "center";
    for (const { slot, label, isMajor } of timeTicks(CLOCK, fromMs, toMs, apart)) {
      const x = Math.round(xOf(slot));
      ctx.fillStyle = theme.grid;
      ctx.fillRect(x, 0, Math.max(1, Math.floor(dpr)), bottom);
      ctx.fillStyle = isMajor ? theme.text : theme.muted;
      const half = ctx.measureText(label).width / 2;
      if (x - half > 0 && x + half < right) ctx.fillText(label, x, bottom + 6 * dpr);
    }
  }

  /**
   * @param {(ms: number) => number} xOf
   * @param {number} bottom
   * @param {number} dpr
   * @param {{scale: PriceScale}[]} laid
   */
  #crosshair(xOf, bottom, dpr, laid) {
    const ms = this.view.pointedMs;
    if (ms === null || laid.length === 0) return;
    const { ctx, theme } = this;
    const x = Math.round(xOf(ms));
    if (x < 0 || x > this.plotWidth * dpr) return;
    ctx.fillStyle = theme.crosshair;
    const thin = Math.max(1, Math.floor(dpr));
    for (let y = 0; y < bottom; y += 6 * dpr) ctx.fillRect(x, y, thin, 3 * dpr);
    const text = openTime(ms, this.view.stepMs);
    const width = ctx.measureText(text).width + 12 * dpr;
    const left = Math.min(Math.max(0, x - width / 2), this.plotWidth * dpr - width);
    ctx.fillStyle = theme["crosshair-tag"];
    ctx.fillRect(left, bottom + 2 * dpr, width, 18 * dpr);
    ctx.fillStyle = theme["crosshair-ink"];
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText(text, left + width / 2, bottom + 11 * dpr);
  }
}

/**
 * @param {[number, number]} range
 * @returns {[number, number]}
 */
function padded([low, high]) {
  if (!(low <= high)) return [0, 1];
  const room = (high - low) * 0.05 || Math.abs(high) * 0.01 || 1;
  return [low - room, high + room];
}
