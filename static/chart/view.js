/**
 * The chart: which slots and prices are in view, and when to draw them.
 *
 * Public coordinates are CSS pixels of the canvas; drawing happens in device pixels. Two canvases
 * lie on each other: the crosshair has its own, so that moving it draws nothing else.
 */

import { fixed } from "../lib/format.js";
import { Series, placed, placedPairs } from "./data.js";
import * as draw from "./draw.js";
import * as overlays from "./overlays.js";
import { PriceScale, priceTicks, timeTicks } from "./scale.js";

const TIME_AXIS_PX = 24;
const VOLUME_SHARE = 0.17;
const FIRST_SPACING_PX = 8;
const MAX_SPACING_PX = 64;
const RIGHT_MARGIN_SLOTS = 6;
const LEAST_VISIBLE_SLOTS = 5;
// Stop and target widen the price range only while candles keep at least this share of it.
const LEAST_CANDLE_SHARE = 0.4;

export class Chart {
  /**
   * @param {HTMLElement} frame  the box that both canvases fill
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLCanvasElement} top  the crosshair's canvas
   * @param {(index: number) => void} onCrosshair  called with a candle's index, -1 for none
   */
  constructor(frame, canvas, top, onCrosshair) {
    this.frame = frame;
    this.canvas = canvas;
    this.top = top;
    this.onCrosshair = onCrosshair;
    this.ctx = context2d(canvas, false);
    this.topCtx = context2d(top, true);
    this.series = new Series();
    this.layers = { zigzag: true, divergences: true, volume: true, trades: true };
    /** @type {Record<string, string>} */
    this.theme = {};
    this.decimals = 2;
    /** Says what market this is, inside the picture as well. */
    this.title = "";
    /** Venue, symbol and interval of the candles that are here. */
    this.market = "";
    /** @type {any[]} */
    this.zigzag = [];
    /** @type {any[]} */
    this.divergences = [];
    /** @type {any[]} */
    this.rawTrades = [];
    /** @type {any[]} */
    this.trades = [];
    /** @type {any | null} */
    this.position = null;
    /** @type {() => number | null} */
    this.venueNow = () => null;
    this.spacing = FIRST_SPACING_PX;
    /** The slot at the right edge of the plot. */
    this.right = 0;
    /** @type {{slot: number, y: number | null} | null} */
    this.crosshair = null;
    this.frameRequest = 0;
    this.isTopDirty = false;
    /** @type {draw.Paint | null} */
    this.lastPaint = null;
    this.scale = new PriceScale(0, 1, 0, 1);
    this.dpr = 1;
    this.axisWidth = 64;
    this.#resize();
    this.#watchPixelRatio();
    new ResizeObserver(() => this.#resize()).observe(frame);
  }

  // --- what is shown -------------------------------------------------------------------------

  /**
   * Take an answer of /data. Lists that it leaves out (null) are unchanged.
   * @param {any} answer
   */
  apply(answer) {
    const { series } = this;
    const market = [answer.meta.venue, answer.meta.symbol, answer.meta.interval].join(" ");
    const isSameMarket = market === this.market && series.count > 0;
    this.market = market;
    const { isFollowing } = this;
    const ahead = this.right - series.lastSlot;
    const rightMs = series.timeOfSlot(this.right);
    const crosshairMs = this.crosshair === null ? 0 : series.timeOfSlot(this.crosshair.slot);
    series.apply(answer, answer.meta);
    this.decimals = answer.meta.priceDecimals;
    this.title = answer.meta.title;
    if (answer.zigzag !== null) this.zigzag = placed(series, answer.zigzag);
    if (answer.divergences !== null) this.divergences = placedPairs(series, answer.divergences);
    if (answer.trades !== null) this.rawTrades = answer.trades;
    this.trades = placed(series, this.rawTrades);
    this.position = answer.position;
    if (!isSameMarket) {
      this.reset();
      return;
    }
    // Slots may have been numbered anew: the view stays at its time, or with the newest candle.
    this.right = isFollowing ? series.lastSlot + ahead : series.slotOfTime(rightMs) + fraction(this.right);
    if (this.crosshair !== null) this.crosshair.slot = series.slotOfTime(crosshairMs);
    this.#clampView();
    this.draw();
  }

  /** Show the newest candles at the usual width. */
  reset() {
    this.spacing = this.plotWidth < 420 ? FIRST_SPACING_PX - 2 : FIRST_SPACING_PX;
    this.crosshair = null;
    this.goLive();
  }

  /** @param {Record<string, string>} theme */
  setTheme(theme) {
    this.theme = theme;
    this.draw();
  }

  /** Whether the newest candle is in view, so that the view moves on with it. */
  get isFollowing() {
    return this.right >= this.series.lastSlot;
  }

  // --- coordinates (CSS pixels) --------------------------------------------------------------

  get width() {
    return this.canvas.width / this.dpr;
  }

  get height() {
    return this.canvas.height / this.dpr;
  }

  get plotWidth() {
    return this.width - this.axisWidth;
  }

  /** @param {number} i index of a candle */
  xOf(i) {
    return this.#xOfSlot(this.series.slot[i]);
  }

  /** @param {number} price */
  yOf(price) {
    return this.scale.yOf(price) / this.dpr;
  }

  /** @param {number} slot */
  #xOfSlot(slot) {
    return this.plotWidth - (this.right - slot) * this.spacing;
  }

  /** @param {number} x */
  slotOf(x) {
    return this.right - (this.plotWidth - x) / this.spacing;
  }

  // --- moving --------------------------------------------------------------------------------

  /** @param {number} pixels positive: towards older candles */
  panBy(pixels) {
    this.right -= pixels / this.spacing;
    this.#clampView();
    this.draw();
  }

  /**
   * Zoom so that the slot under `x` stays where it is.
   * @param {number} x
   * @param {number} factor
   */
  zoomAt(x, factor) {
    const slot = this.slotOf(x);
    this.spacing = Math.min(MAX_SPACING_PX, Math.max(this.#leastSpacing(), this.spacing * factor));
    this.right = slot + (this.plotWidth - x) / this.spacing;
    this.#clampView();
    this.draw();
  }

  /** Zoom around the crosshair, or around the newest candle where that is in view. */
  zoomCentre() {
    if (this.crosshair !== null) return this.#xOfSlot(this.crosshair.slot);
    if (this.isFollowing) return Math.min(this.plotWidth, this.#xOfSlot(this.series.lastSlot));
    return this.plotWidth / 2;
  }

  /** Show every candle that is here. */
  fit() {
    this.spacing = this.#leastSpacing();
    this.goLive();
  }

  goLive() {
    this.right = this.series.lastSlot + Math.min(RIGHT_MARGIN_SLOTS, 48 / this.spacing);
    this.#clampView();
    this.draw();
  }

  goFirst() {
    this.right = this.series.firstSlot - 1 + this.plotWidth / this.spacing;
    this.#clampView();
    this.draw();
  }

  #leastSpacing() {
    const slots = this.series.lastSlot - this.series.firstSlot + 1 + 2;
    return Math.min(FIRST_SPACING_PX, this.plotWidth / Math.max(LEAST_VISIBLE_SLOTS, slots));
  }

  #clampView() {
    const { series } = this;
    const width = this.plotWidth / this.spacing;
    const most = series.lastSlot + width - LEAST_VISIBLE_SLOTS;
    const least = series.firstSlot + LEAST_VISIBLE_SLOTS;
    this.right = Math.max(Math.min(least, most), Math.min(most, this.right));
  }

  // --- crosshair -----------------------------------------------------------------------------

  /**
   * Put the crosshair on the candle nearest to a point; y null: no horizontal line.
   * @param {number} x
   * @param {number | null} y
   */
  point(x, y) {
    if (this.series.count === 0 || x > this.plotWidth) return this.unpoint();
    const slot = Math.round(this.slotOf(x));
    this.crosshair = { slot, y };
    this.#drawCrosshair();
    this.onCrosshair(this.crosshairIndex());
  }

  unpoint() {
    if (this.crosshair === null) return;
    this.crosshair = null;
    this.#drawCrosshair();
    this.onCrosshair(-1);
  }

  /**
   * Move the crosshair by candles, from the newest one in view where there is none yet.
   * @param {number} candles
   */
  step(candles) {
    const { series } = this;
    if (series.count === 0) return;
    const current = this.crosshair === null ? -1 : series.nearest(this.crosshair.slot);
    const start = current >= 0 ? current + candles : this.#visible()[1] - 1;
    this.pointAt(Math.min(series.last, Math.max(0, start)));
  }

  /** @param {number} index of the candle that the crosshair shall show, scrolled into view */
  pointAt(index) {
    const slot = this.series.slot[index];
    this.crosshair = { slot, y: null };
    if (slot > this.right - 0.5) this.right = slot + 0.5;
    const left = this.slotOf(0);
    if (slot < left + 0.5) this.right -= left + 0.5 - slot;
    this.draw();
    this.onCrosshair(index);
  }

  /** Index of the candle under the crosshair, or -1 (no crosshair, or no candle there). */
  crosshairIndex() {
    if (this.crosshair === null) return -1;
    const index = this.series.nearest(this.crosshair.slot);
    if (index < 0 || Math.abs(this.series.slot[index] - this.crosshair.slot) > 0.5) return -1;
    return index;
  }

  // --- drawing -------------------------------------------------------------------------------

  /** Draw before the next screen refresh, once, whatever the number of calls. */
  draw() {
    if (this.frameRequest !== 0) return;
    this.frameRequest = requestAnimationFrame(() => this.drawNow());
  }

  drawNow() {
    cancelAnimationFrame(this.frameRequest);
    this.frameRequest = 0;
    const { ctx, canvas } = this;
    ctx.fillStyle = this.theme.surface ?? "Canvas";
    ctx.fillRect(0, 0, canvas.width, canvas.height);
    if (this.series.count > 0) this.#drawSeries();
    this.#drawCrosshair();
  }

  #drawSeries() {
    const paint = this.#paint();
    const gap = paint.dpr * (paint.layout.priceBottom < 300 * paint.dpr ? 34 : 46);
    const tick = 10 ** -this.decimals;
    const prices = priceTicks(this.scale, gap, tick);
    if (this.#fitAxis(paint, prices)) {
      this.#drawSeries();
      return;
    }
    const times = timeTicks(this.series, this.slotOf(0), this.right, 84 / this.spacing);
    const highest = this.layers.volume ? highestVolume(paint) : 0;
    draw.drawGaps(paint);
    draw.drawGrid(paint, prices, times);
    draw.drawTitle(paint, this.title);
    const { position } = this;
    if (position !== null) {
      overlays.clipped(paint, () => {
        overlays.drawPositionZones(paint, position, this.#openSlot(position));
      });
    }
    if (this.layers.volume) draw.drawVolume(paint, highest);
    overlays.clipped(paint, () => draw.drawCandles(paint));
    overlays.clipped(paint, () => {
      if (this.layers.zigzag) overlays.drawZigzag(paint, this.zigzag);
      if (this.layers.divergences) overlays.drawDivergences(paint, this.divergences);
    });
    draw.drawLastPrice(paint, this.venueNow());
    overlays.clipped(paint, () => {
      if (position !== null) overlays.drawPositionLines(paint, position);
      if (this.layers.trades) overlays.drawMarks(paint, this.trades);
    });
    draw.drawAxes(paint, prices, times);
    draw.drawVolumeAxis(paint, highest);
    draw.drawTags(paint);
    this.lastPaint = paint;
  }

  /** @param {any} position */
  #openSlot(position) {
    if (position.openTime === null) return -1e9;
    const index = this.series.indexOfTime(Date.parse(position.openTime));
    return index < 0 ? -1e9 : this.series.slot[index];
  }

  #drawCrosshair() {
    const { topCtx, top, lastPaint } = this;
    const isEmpty = this.crosshair === null || this.series.count === 0 || lastPaint === null;
    if (isEmpty && !this.isTopDirty) return;
    topCtx.clearRect(0, 0, top.width, top.height);
    this.isTopDirty = !isEmpty;
    if (this.crosshair === null || isEmpty) return;
    const { slot, y } = this.crosshair;
    const paint = { ...lastPaint, ctx: topCtx };
    draw.drawCrosshair(paint, { slot, x: paint.xOf(slot), y: y === null ? null : y * this.dpr });
  }

  /** @returns {draw.Paint} */
  #paint() {
    const { ctx, dpr, series, spacing, right } = this;
    const layout = this.#layout();
    const [from, to] = this.#visible();
    this.scale = this.#priceScale(layout, from, to);
    const edge = layout.right;
    return {
      ctx, dpr, layout, series, from, to,
      theme: this.theme,
      scale: this.scale,
      xOf: (slot) => edge - (right - slot) * spacing * dpr,
      spacing: spacing * dpr,
      decimals: this.decimals,
      tags: [],
    };
  }

  #layout() {
    const { width, height } = this.canvas;
    const right = Math.round(width - this.axisWidth * this.dpr);
    const bottom = Math.round(height - TIME_AXIS_PX * this.dpr);
    const volumeTop = this.layers.volume ? Math.round(bottom * (1 - VOLUME_SHARE)) : bottom;
    return {
      width, height, right, bottom, volumeTop,
      priceTop: 0,
      priceBottom: volumeTop,
      volumeBottom: bottom,
    };
  }

  /** @returns {[number, number]} first visible candle, and one after the last */
  #visible() {
    const from = this.series.firstFrom(this.slotOf(0) - 0.5);
    const to = this.series.firstFrom(this.right + 0.5);
    return [from, to];
  }

  /**
   * @param {draw.Layout} layout
   * @param {number} from
   * @param {number} to
   */
  #priceScale(layout, from, to) {
    let [low, high] = priceRange(this.series, from, to);
    const candles = Math.max(high - low, 10 ** -this.decimals * 4);
    for (const level of this.#levelsToFit()) {
      const [wideLow, wideHigh] = [Math.min(low, level), Math.max(high, level)];
      if (candles >= LEAST_CANDLE_SHARE * (wideHigh - wideLow)) [low, high] = [wideLow, wideHigh];
    }
    const middle = (low + high) / 2;
    const span = Math.max(high - low, candles);
    const top = layout.priceTop + 26 * this.dpr;
    const bottom = layout.priceBottom - 22 * this.dpr;
    const half = (span / 2) * 1.02;
    const inner = new PriceScale(middle - half, middle + half, top, Math.max(top + 1, bottom));
    // Ticks and lines reach into the margins above and below the candles.
    return new PriceScale(
      inner.priceOf(layout.priceBottom),
      inner.priceOf(layout.priceTop),
      layout.priceTop,
      layout.priceBottom,
    );
  }

  #levelsToFit() {
    if (this.position === null || !this.isFollowing) return [];
    const { entryPrice, stopPrice, targetPrice } = this.position;
    return [entryPrice, stopPrice, targetPrice].filter((level) => level !== null).map(Number);
  }

  /**
   * Widen or narrow the price axis to its labels; true where it changed.
   * @param {draw.Paint} paint
   * @param {number[]} prices
   */
  #fitAxis(paint, prices) {
    draw.setFont(paint, 11, 600);
    const levels = this.position === null ? [] : [this.position.targetPrice, this.position.stopPrice];
    const texts = [...prices.map((value) => fixed(value, this.decimals)), ...levels];
    let widest = 0;
    for (const text of texts) {
      if (text !== null) widest = Math.max(widest, paint.ctx.measureText(text).width);
    }
    const wanted = Math.ceil((widest / this.dpr + 16) / 8) * 8;
    // Hysteresis: an axis that breathes with every digit would shake the whole chart.
    if (wanted <= this.axisWidth && wanted >= this.axisWidth - 16) return false;
    this.axisWidth = wanted;
    return true;
  }

  #resize() {
    const box = this.frame.getBoundingClientRect();
    this.dpr = Math.max(1, window.devicePixelRatio);
    const oldPlot = this.plotWidth;
    for (const canvas of [this.canvas, this.top]) {
      canvas.width = Math.max(1, Math.round(box.width * this.dpr));
      canvas.height = Math.max(1, Math.round(box.height * this.dpr));
    }
    this.isTopDirty = true;
    if (oldPlot > 0) this.#clampView();
    if (this.theme.surface !== undefined) this.drawNow();
  }

  /** A window that moves to another screen changes its pixel ratio, not its size. */
  #watchPixelRatio() {
    const query = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    const onChange = () => {
      this.#resize();
      this.#watchPixelRatio();
    };
    query.addEventListener("change", onChange, { once: true });
  }
}

/** @param {number} slot */
const fraction = (slot) => slot - Math.round(slot);

/**
 * @param {HTMLCanvasElement} canvas
 * @param {boolean} hasAlpha
 */
function context2d(canvas, hasAlpha) {
  const ctx = canvas.getContext("2d", { alpha: hasAlpha });
  if (ctx === null) throw new Error("this browser cannot draw on a canvas");
  return ctx;
}

/**
 * @param {Series} series
 * @param {number} from
 * @param {number} to
 * @returns {[number, number]}
 */
function priceRange(series, from, to) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = from; i < to; i += 1) {
    if (series.low[i] < low) low = series.low[i];
    if (series.high[i] > high) high = series.high[i];
  }
  if (low <= high) return [low, high];
  const close = series.close[series.last];
  return [close, close];
}

/** @param {draw.Paint} paint */
function highestVolume(paint) {
  let highest = 0;
  for (let i = paint.from; i < paint.to; i += 1) {
    if (paint.series.volume[i] > highest) highest = paint.series.volume[i];
  }
  return highest;
}
