/**
 * The chart: which slots and prices are in view, and when to draw them.
 *
 * Public coordinates are CSS pixels of the canvas, public indices are absolute; drawing happens in
 * device pixels. Two canvases lie on each other: the crosshair has its own, so that moving it draws
 * nothing else.
 */

import { fixed, openTime } from "../lib/format.js";
import { Series } from "./columns.js";
import * as draw from "./draw.js";
import { Divergences, Swings, drawDivergences, drawZigzag } from "./items.js";
import { drawHistogram, drawLine, trackOf } from "./lines.js";
import { laidOut, plansOf, scaleOf } from "./panes.js";
import { PriceScale, priceTicks, timeTicks, zoneOffset } from "./scale.js";

const TIME_AXIS_PX = 24;
const DAY_MS = 86_400_000;
const FIRST_SPACING_PX = 8;
const MAX_SPACING_PX = 64;
const RIGHT_MARGIN_SLOTS = 6;
const LEAST_VISIBLE_SLOTS = 5;
// Stop and target widen the price range only while candles keep at least this share of it.
const LEAST_CANDLE_SHARE = 0.4;
// Older rows are asked for while this many screens of them are still here.
const OLDER_AHEAD_SCREENS = 2;
const LINE_DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
/** The texts inside the picture, in English. */
const WORDS = {
  missing: "missing", long: "Long", short: "Short", stop: "Stop", target: "Target",
  liquidation: "Liquidation", bullish: "Bull +", bearish: "Bear −",
  hidden_bullish: "Hidden bull +", hidden_bearish: "Hidden bear −",
};

/** @typedef {[low: number, high: number]} Range */

export class Chart {
  /**
   * @param {HTMLElement} frame  the box that both canvases fill
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLCanvasElement} top  the crosshair's canvas
   */
  constructor(frame, canvas, top) {
    this.frame = frame;
    this.canvas = canvas;
    this.top = top;
    this.ctx = context2d(canvas, false);
    this.topCtx = context2d(top, true);
    /** Told the index of the candle under the crosshair, -1 for none. @type {(index: number) => void} */
    this.onCrosshair = () => {};
    /** Told the first and last index in view after each move. @type {(first: number, last: number) => void} */
    this.onRange = () => {};
    /** Called when rows before `series.first` will soon be in view. */
    this.needsOlder = () => {};
    /** @type {() => number | null} */
    this.venueNow = () => null;
    this.series = new Series();
    /** What is hidden: a name that is false. @type {Record<string, boolean>} */
    this.layers = {
      zigzag: true, divergences: true, trades: true, averages: true,
      volume: true, rsi: true, macd: false, stochastic: false,
    };
    /** Heights of panes that were chosen, as shares. @type {Record<string, number>} */
    this.shares = {};
    /** Ranges of panes that were chosen by hand. @type {Map<string, Range>} */
    this.ranges = new Map();
    /** Panes of script plots, by column. @type {Map<string, string>} */
    this.plots = new Map();
    this.isLog = false;
    this.zone = "UTC";
    this.words = WORDS;
    /** @type {Record<string, string>} */
    this.theme = {};
    this.decimals = 2;
    /** Says what market this is, inside the picture as well. */
    this.title = "";
    /** Venue, symbol and interval of the candles that are here. */
    this.market = "";
    this.swings = new Swings(this.series, []);
    this.divergences = new Divergences(this.series, []);
    /** @type {any[]} */
    this.rawTrades = [];
    /** Entries and exits with `index` and `slot`, oldest first. @type {any[]} */
    this.trades = [];
    /** @type {any | null} */
    this.position = null;
    /** @type {typeof import("./marks.js") | null} */
    this.marks = null;
    this.spacing = FIRST_SPACING_PX;
    /** The slot at the right edge of the plot. */
    this.right = 0;
    /** @type {{slot: number, y: number | null} | null} */
    this.crosshair = null;
    this.frameRequest = 0;
    this.isTopDirty = false;
    this.askedBefore = -1;
    /** What was drawn last. @type {draw.Paint | null} */
    this.paint = null;
    this.dpr = 1;
    this.axisWidth = 64;
    this.#resize();
    this.#watchPixelRatio();
    const observer = new ResizeObserver((entries) => this.#resize(entries[0]));
    try {
      observer.observe(canvas, { box: "device-pixel-content-box" });
    } catch {
      observer.observe(canvas); // a browser that knows no such box: sizes are rounded
    }
  }

  // --- what is shown -------------------------------------------------------------------------

  /**
   * Show another series, at its newest candles.
   * @param {Series} series
   */
  setSeries(series) {
    this.series = series;
    this.setItems({ zigzag: [], divergences: [] });
    this.setTrades([]);
    this.position = null;
    this.ranges.clear();
    this.reset();
  }

  /**
   * Change the series' rows while the view stays at its candles, or with the newest one.
   * @param {() => void} change  puts or appends rows
   */
  update(change) {
    const { isFollowing, series } = this;
    const ahead = this.right - series.lastSlot;
    change();
    if (isFollowing) this.right = series.lastSlot + ahead;
    this.#clampView();
    this.draw();
  }

  /**
   * Replace swing points and divergences (by absolute indices); what is left out stays.
   * @param {{zigzag?: any[] | null, divergences?: any[] | null}} items
   */
  setItems({ zigzag, divergences }) {
    if (zigzag) this.swings = new Swings(this.series, zigzag);
    if (divergences) this.divergences = new Divergences(this.series, divergences);
    this.draw();
  }

  /** @param {any[]} trades  entries and exits with ISO times, oldest first */
  setTrades(trades) {
    this.rawTrades = trades;
    this.trades = [];
    for (const trade of trades) {
      const index = this.series.indexOfTime(Date.parse(trade.time));
      if (index >= 0) this.trades.push({ ...trade, index, slot: this.series.slot[index] });
    }
    if (trades.length > 0) this.#needMarks();
    this.draw();
  }

  /** @param {any | null} position */
  setPosition(position) {
    this.position = position;
    if (position !== null) this.#needMarks();
    this.draw();
  }

  /** Lines of positions and trades are code of their own, for those who trade. */
  #needMarks() {
    if (this.marks !== null || this.marksRequest !== undefined) return;
    this.marksRequest = import("./marks.js").then((marks) => {
      this.marks = marks;
      this.draw();
    });
  }

  /** @type {Promise<void> | undefined} */
  marksRequest;

  /**
   * Take an answer of GET /data. Lists that it leaves out (null) are unchanged.
   * @param {any} answer
   */
  apply(answer) {
    const { meta } = answer;
    const market = [meta.venue, meta.symbol, meta.interval].join(" ");
    const isSameMarket = market === this.market && this.series.count > 0;
    this.market = market;
    this.decimals = meta.priceDecimals;
    this.title = meta.title;
    if (!isSameMarket) this.setSeries(new Series());
    const { series } = this;
    const rightMs = series.timeOfSlot(this.right);
    const crosshairMs = this.crosshair === null ? 0 : series.timeOfSlot(this.crosshair.slot);
    const wasFollowing = this.isFollowing;
    this.update(() => series.apply(answer, meta));
    if (!answer.increment && isSameMarket) {
      // Slots were numbered anew: the view stays at its time.
      if (!wasFollowing) this.right = series.slotOfTime(rightMs) + this.right - Math.round(this.right);
      if (this.crosshair !== null) this.crosshair.slot = series.slotOfTime(crosshairMs);
      this.#clampView();
    }
    // Indices of such an answer count from where it begins: times are what stays.
    this.setItems({
      zigzag: answer.zigzag && indexed(series, answer.zigzag, ["index", "time"]),
      divergences: answer.divergences
        && indexed(series, answer.divergences, ["startIndex", "startTime"], ["endIndex", "endTime"]),
    });
    this.setTrades(answer.trades ?? this.rawTrades);
    this.setPosition(answer.position);
    if (!isSameMarket) this.reset();
  }

  /** Show the newest candles at the usual width. */
  reset() {
    this.spacing = this.plotWidth < 420 ? FIRST_SPACING_PX - 2 : FIRST_SPACING_PX;
    this.crosshair = null;
    this.askedBefore = -1;
    this.goLive();
  }

  /** @param {Record<string, string>} theme */
  setTheme(theme) {
    this.theme = theme;
    this.draw();
  }

  /**
   * Show times as the clocks of a zone do; days and longer stay in UTC, as exchanges count them.
   * @param {string} zone  an IANA name
   */
  setZone(zone) {
    this.zone = zone;
    this.draw();
  }

  /** @param {boolean} isLog */
  setLog(isLog) {
    this.isLog = isLog;
    this.ranges.delete("price");
    this.draw();
  }

  /** Whether the newest candle is in view, so that the view moves on with it. */
  get isFollowing() {
    return this.right >= this.series.lastSlot;
  }

  get shownZone() {
    return this.series.intervalMs >= DAY_MS ? "UTC" : this.zone;
  }

  // --- coordinates (CSS pixels) --------------------------------------------------------------

  get width() { return this.canvas.width / this.dpr; }
  get height() { return this.canvas.height / this.dpr; }
  get plotWidth() { return this.width - this.axisWidth; }

  /** @param {number} i index of a candle */
  xOf(i) {
    return this.#xOfSlot(this.series.slotOf(i));
  }

  /**
   * @param {number} value
   * @param {string} [pane]
   */
  yOf(value, pane = "price") {
    const shown = this.paint?.panes.find((one) => one.name === pane);
    return shown === undefined ? NaN : shown.scale.yOf(value) / this.dpr;
  }

  /** @param {number} slot */
  #xOfSlot(slot) {
    return this.plotWidth - (this.right - slot) * this.spacing;
  }

  /** @param {number} x */
  slotOf(x) {
    return this.right - (this.plotWidth - x) / this.spacing;
  }

  /**
   * The pane at a height, null below them all.
   * @param {number} y
   */
  paneAt(y) {
    const at = y * this.dpr;
    return this.paint?.panes.find((pane) => at >= pane.top && at < pane.bottom) ?? null;
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

  /**
   * Show the candles of two indices and those between.
   * @param {number} first
   * @param {number} last
   */
  showRange(first, last) {
    const [from, to] = [this.series.slotOf(first) - 0.5, this.series.slotOf(last) + 0.5];
    this.spacing = Math.min(MAX_SPACING_PX, Math.max(this.#leastSpacing(), this.plotWidth / (to - from)));
    this.right = to;
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

  /**
   * Stretch (above 1) or squeeze a pane's values around its middle; from then on its range is fixed.
   * @param {string} pane
   * @param {number} factor
   */
  scaleBy(pane, factor) {
    this.#setRange(pane, (top, bottom) => {
      const [middle, half] = [(top + bottom) / 2, (bottom - top) / 2 / factor];
      return [middle - half, middle + half];
    });
  }

  /**
   * Move a pane whose range is fixed up (negative) or down.
   * @param {string} pane
   * @param {number} pixels
   */
  shiftBy(pane, pixels) {
    if (!this.ranges.has(pane)) return;
    const by = pixels * this.dpr;
    this.#setRange(pane, (top, bottom) => [top - by, bottom - by]);
  }

  /** Let a pane's range follow its values again. @param {string} pane */
  resetScale(pane) {
    this.ranges.delete(pane);
    this.draw();
  }

  /**
   * @param {string} name
   * @param {(top: number, bottom: number) => [number, number]} edges  device pixels
   */
  #setRange(name, edges) {
    const pane = this.paint?.panes.find((one) => one.name === name);
    if (pane === undefined) return;
    const [top, bottom] = edges(pane.top, pane.bottom);
    const [low, high] = [pane.scale.priceOf(bottom), pane.scale.priceOf(top)];
    if (high - low > pane.tick * 1e-3 && Number.isFinite(high - low)) this.ranges.set(name, [low, high]);
    this.drawNow();
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
    this.pointAt(Math.min(series.last, Math.max(series.first, start)));
  }

  /** @param {number} index of the candle that the crosshair shall show, scrolled into view */
  pointAt(index) {
    const slot = this.series.slotOf(index);
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
    const { ctx, canvas, series } = this;
    ctx.fillStyle = this.theme.surface ?? "Canvas";
    ctx.fillRect(0, 0, canvas.width, canvas.height);
    if (series.count > 0) this.#drawSeries();
    this.#drawCrosshair();
    if (series.count === 0) return;
    const [from, to] = this.#visible();
    this.onRange(from, to - 1);
    const isNear = from - series.first < OLDER_AHEAD_SCREENS * (to - from);
    if (isNear && series.first > 0 && this.askedBefore !== series.first) {
      this.askedBefore = series.first;
      this.needsOlder();
    }
  }

  #drawSeries() {
    const paint = this.#preparePaint();
    if (this.#fitAxis(paint)) {
      this.#drawSeries();
      return;
    }
    this.paint = paint;
    const { dpr, panes } = paint;
    const times = timeTicks(
      this.series, this.slotOf(0), this.right, 84 / this.spacing, this.shownZone,
    );
    draw.drawGaps(paint);
    for (const pane of panes) {
      const own = { ...paint, pane, scale: pane.scale };
      draw.drawGrid(own, times);
      draw.clipped(own, (clip) => (pane.name === "price" ? this.#drawPrice(clip) : this.#drawPane(clip)));
    }
    // In the volume pane, where no label of a level can cover it.
    const second = panes[1]?.top ?? paint.bottom - 24 * dpr;
    draw.drawTitle(paint, this.title, second + 6 * dpr);
    draw.drawAxes(paint, times);
    for (const pane of panes) draw.drawLabels({ ...paint, pane, scale: pane.scale });
    draw.drawTags(paint);
  }

  /** @param {draw.Paint} paint */
  #drawPrice(paint) {
    const { position, marks, layers } = this;
    if (position !== null && marks) marks.drawPositionZones(paint, position, this.#openSlot(position));
    draw.drawCandles(paint);
    this.#drawLines(paint);
    if (layers.zigzag) drawZigzag(paint, this.swings);
    if (layers.divergences) drawDivergences(paint, this.divergences, "Price");
    draw.drawLastPrice(paint, this.venueNow());
    if (position !== null && marks) marks.drawPositionLines(paint, position);
    if (layers.trades && marks) marks.drawMarks(paint, this.trades);
  }

  /** @param {draw.Paint} paint */
  #drawPane(paint) {
    const { pane } = paint;
    if (pane.name === "volume") draw.drawVolume(paint);
    if (pane.histogram && paint.series.columns[pane.histogram]) {
      drawHistogram(paint, pane.histogram, paint.spacing * 0.5);
    }
    this.#drawLines(paint);
    if (pane.name === "rsi" && this.layers.divergences) drawDivergences(paint, this.divergences, "RSI");
    if (pane.title !== "") draw.drawTitle(paint, pane.title, pane.top + 6 * paint.dpr);
  }

  /** @param {draw.Paint} paint */
  #drawLines(paint) {
    paint.pane.lines.forEach((name, k) => {
      const colour = paint.theme[`line${(k % 4) + 1}`] ?? paint.theme.text;
      const track = trackOf(paint.series, name, paint.from, paint.to);
      drawLine(paint, track, colour, { dash: LINE_DASHES[k % 4] });
    });
  }

  /** @param {any} position */
  #openSlot(position) {
    if (position.openTime === null) return -1e9;
    const index = this.series.indexOfTime(Date.parse(position.openTime));
    return index < 0 ? -1e9 : this.series.slot[index];
  }

  #drawCrosshair() {
    const { topCtx, top, paint, series } = this;
    const isEmpty = this.crosshair === null || series.count === 0 || paint === null;
    if (isEmpty && !this.isTopDirty) return;
    topCtx.clearRect(0, 0, top.width, top.height);
    this.isTopDirty = !isEmpty;
    // An empty canvas would still be laid over the other one in each frame.
    top.hidden = isEmpty;
    if (this.crosshair === null || isEmpty) return;
    const { slot, y } = this.crosshair;
    const ms = series.timeOfSlot(slot);
    const time = openTime(ms + zoneOffset(ms, this.shownZone), series.intervalMs);
    draw.drawCrosshair(
      { ...paint, ctx: topCtx }, { x: paint.xOf(slot), y: y === null ? null : y * this.dpr, time },
    );
  }

  /** @returns {draw.Paint} */
  #preparePaint() {
    const { ctx, dpr, series, spacing, right, decimals, canvas } = this;
    const [from, to] = this.#visible();
    const edge = Math.round(canvas.width - this.axisWidth * dpr);
    const bottom = Math.round(canvas.height - TIME_AXIS_PX * dpr);
    const plans = laidOut(plansOf(series, this.layers, this.plots), this.shares, bottom, dpr);
    const panes = plans.map((plan) => {
      const range = this.ranges.get(plan.name);
      const scaled = plan.name === "price"
        ? { scale: this.#priceScale(plan, from, to), tick: 10 ** -decimals, text: draw.priceText(decimals) }
        : scaleOf(plan, series, from, to, { decimals, range });
      const height = plan.bottom - plan.top;
      const gap = dpr * (height < 120 * dpr ? 22 : height < 300 * dpr ? 34 : 46);
      return { ...plan, ...scaled, ticks: priceTicks(scaled.scale, gap, scaled.tick) };
    });
    const step = spacing * dpr;
    return {
      ctx, dpr, series, from, to, panes, decimals, bottom,
      theme: this.theme, words: this.words, zone: this.zone,
      width: canvas.width, height: canvas.height,
      right: edge,
      pane: panes[0],
      scale: panes[0].scale,
      xOf: (slot) => edge - (right - slot) * step,
      slotAt: (x) => right - (edge - x) / step,
      spacing: step,
      tags: [],
    };
  }

  /** @returns {Range} first visible candle, and one after the last */
  #visible() {
    const from = this.series.firstFrom(this.slotOf(0) - 0.5);
    const to = this.series.firstFrom(this.right + 0.5);
    return [from, to];
  }

  /**
   * @param {{top: number, bottom: number}} pane
   * @param {number} from
   * @param {number} to
   */
  #priceScale(pane, from, to) {
    const fixedRange = this.ranges.get("price");
    if (fixedRange !== undefined) {
      const isLog = this.isLog && fixedRange[0] > 0;
      return new PriceScale(fixedRange[0], fixedRange[1], pane.top, pane.bottom, isLog);
    }
    let [low, high] = this.#priceRange(from, to);
    const candles = Math.max(high - low, 10 ** -this.decimals * 4);
    for (const level of this.#levelsToFit()) {
      const [wideLow, wideHigh] = [Math.min(low, level), Math.max(high, level)];
      if (candles >= LEAST_CANDLE_SHARE * (wideHigh - wideLow)) [low, high] = [wideLow, wideHigh];
    }
    const isLog = this.isLog && low > 0;
    const middle = (low + high) / 2;
    const half = (Math.max(high - low, candles) / 2) * 1.02;
    const top = pane.top + 26 * this.dpr;
    const bottom = Math.max(top + 1, pane.bottom - 22 * this.dpr);
    const inner = new PriceScale(isLog ? low : middle - half, isLog ? high : middle + half, top, bottom, isLog);
    // Ticks and lines reach into the margins above and below the candles.
    return new PriceScale(
      inner.priceOf(pane.bottom), inner.priceOf(pane.top), pane.top, pane.bottom, isLog,
    );
  }

  /**
   * @param {number} from
   * @param {number} to
   * @returns {Range}
   */
  #priceRange(from, to) {
    const { series } = this;
    const low = series.least("low", from, to);
    const high = series.most("high", from, to);
    if (low <= high) return [low, high];
    const close = series.close[series.last];
    return [close, close];
  }

  #levelsToFit() {
    if (this.position === null || !this.isFollowing) return [];
    const { entryPrice, stopPrice, targetPrice } = this.position;
    return [entryPrice, stopPrice, targetPrice].filter((level) => level !== null).map(Number);
  }

  /**
   * Widen or narrow the price axis to its labels; true where it changed.
   * @param {draw.Paint} paint
   */
  #fitAxis(paint) {
    draw.setFont(paint, 11, 600);
    const { position, decimals } = this;
    const levels = position === null ? [] : [position.targetPrice, position.stopPrice];
    let widest = 0;
    for (const text of levels) {
      if (text !== null) widest = Math.max(widest, draw.widthOf(paint.ctx, fixed(Number(text), decimals)));
    }
    for (const pane of paint.panes) {
      for (const tick of pane.ticks) widest = Math.max(widest, draw.widthOf(paint.ctx, pane.text(tick)));
    }
    const wanted = Math.ceil((widest / this.dpr + 16) / 8) * 8;
    // Hysteresis: an axis that breathes with every digit would shake the whole chart.
    if (wanted <= this.axisWidth && wanted >= this.axisWidth - 16) return false;
    this.axisWidth = wanted;
    return true;
  }

  /** @param {ResizeObserverEntry} [entry] */
  #resize(entry) {
    const box = this.frame.getBoundingClientRect();
    this.dpr = Math.max(1, window.devicePixelRatio);
    const oldPlot = this.plotWidth;
    const exact = entry?.devicePixelContentBoxSize?.[0];
    const width = pixels(box.width * this.dpr, exact?.inlineSize);
    const height = pixels(box.height * this.dpr, exact?.blockSize);
    for (const canvas of [this.canvas, this.top]) {
      // Setting a size, even the same one, empties the canvas.
      if (canvas.width !== width) canvas.width = width;
      if (canvas.height !== height) canvas.height = height;
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

/**
 * A side in device pixels: as the browser measured it, unless that is not of this pixel ratio.
 * @param {number} computed
 * @param {number | undefined} measured
 */
function pixels(computed, measured) {
  if (measured !== undefined && Math.abs(measured - computed) <= 1) return Math.max(1, measured);
  return Math.max(1, Math.round(computed));
}

/**
 * Items whose indices are those of their times' candles; without those that lie before all.
 * @param {Series} series
 * @param {any[]} items
 * @param {...[string, string]} keys  of an index and of its time
 */
function indexed(series, items, ...keys) {
  const found = items.map((item) => {
    const own = { ...item };
    for (const [index, time] of keys) own[index] = series.indexOfTime(Date.parse(item[time]));
    return own;
  });
  return found.filter((item) => keys.every(([index]) => item[index] >= 0));
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {boolean} hasAlpha
 */
function context2d(canvas, hasAlpha) {
  const ctx = canvas.getContext("2d", { alpha: hasAlpha });
  if (ctx === null) throw new Error("this browser cannot draw on a canvas");
  return ctx;
}
