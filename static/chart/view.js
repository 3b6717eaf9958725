/**
 * The chart: which slots and prices are in view, and when to draw them.
 *
 * Public coordinates are CSS pixels of the canvas, public indices are absolute; drawing happens in
 * device pixels. Two canvases lie on each other: the crosshair has its own, so that moving it draws
 * nothing else.
 */

import { Series } from "./columns.js";
import { Divergences, Swings } from "./items.js";
import { drawPicture } from "./picture.js";

const DAY_MS = 86_400_000;
const FIRST_SPACING_PX = 8;
const MAX_SPACING_PX = 64;
const RIGHT_MARGIN_SLOTS = 6;
const LEAST_VISIBLE_SLOTS = 5;
// Older rows are asked for while this many screens of them are still here.
const OLDER_AHEAD_SCREENS = 2;
const EXTRAS = { marks: () => import("./marks.js"), crosshair: () => import("./crosshair.js") };
/** The texts inside the picture, in English. @type {Readonly<Record<string, string>>} */
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
    top.hidden = true;
    /** Told the index of the candle under the crosshair, -1 for none. @type {(index: number) => void} */
    this.onCrosshair = () => {};
    /** Told the first and last index in view after each move. @type {(first: number, last: number) => void} */
    this.onRange = () => {};
    /** Called when rows before `series.first` will soon be in view. */
    this.needsOlder = () => {};
    /** @type {() => number | null} */
    this.venueNow = () => null;
    this.series = new Series();
    // Scripts name panes: a name must mean nothing but itself.
    /** What is hidden: a name that is false. @type {Record<string, boolean>} */
    this.layers = {
      __proto__: /** @type {any} */ (null),
      zigzag: true, divergences: true, trades: true, averages: true,
      volume: true, rsi: true, macd: false, stochastic: false,
    };
    /** Heights of panes that were chosen, as shares. @type {Record<string, number>} */
    this.shares = { __proto__: /** @type {any} */ (null) };
    /** Ranges of panes that were chosen by hand. @type {Map<string, Range>} */
    this.ranges = new Map();
    /** Panes of script plots, by column. @type {Map<string, string>} */
    this.plots = new Map();
    /** Notes that a script left, by the candle's index. @type {ReadonlyMap<number, string[]>} */
    this.notes = new Map();
    /** The pane that keys read and scale. */
    this.keyPane = "price";
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
    this.spacing = FIRST_SPACING_PX;
    /** The slot at the right edge of the plot. */
    this.right = 0;
    /** @type {{slot: number, y: number | null} | null} */
    this.crosshair = null;
    this.frameRequest = 0;
    this.askedBefore = -1;
    /** What the view shall show when older rows have come. @type {"" | "all" | "first"} */
    this.goal = "";
    /** What was drawn last. @type {import("./draw.js").Paint | null} */
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
    this.notes = new Map();
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
    const { goal } = this;
    const wasFirst = goal === "first" && this.crosshairIndex() === series.first;
    change();
    if (isFollowing) this.right = series.lastSlot + ahead;
    this.clampView();
    if (goal === "all") this.fit();
    if (wasFirst) this.pointAt(series.first);
    if (goal === "first") this.goFirst();
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
    if (trades.length > 0) this.#need("marks");
    this.draw();
  }

  /** @param {any | null} position */
  setPosition(position) {
    this.position = position;
    if (position !== null) this.#need("marks");
    this.draw();
  }

  /** @param {ReadonlyMap<number, string[]>} notes  by the candle's index */
  setNotes(notes) {
    this.notes = notes;
    if (notes.size > 0) this.#need("marks");
    this.draw();
  }

  /**
   * Fetch code for what is not in every picture when it is first needed, and draw again.
   * @param {keyof typeof EXTRAS} name
   */
  #need(name) {
    this.#fetching[name] ??= EXTRAS[name]().then((module) => {
      Object.assign(this.#extras, { [name]: module });
      this.drawNow();
    });
  }

  /** @type {{marks?: typeof import("./marks.js"), crosshair?: typeof import("./crosshair.js")}} */
  #extras = {};
  /** @type {{[name: string]: Promise<void>}} */
  #fetching = {};

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
    this.goal = "";
    this.right -= pixels / this.spacing;
    this.clampView();
    this.draw();
  }

  /**
   * Zoom so that the slot under `x` stays where it is.
   * @param {number} x
   * @param {number} factor
   */
  zoomAt(x, factor) {
    this.goal = "";
    const slot = this.slotOf(x);
    this.spacing = Math.min(MAX_SPACING_PX, Math.max(this.#leastSpacing(), this.spacing * factor));
    this.right = slot + (this.plotWidth - x) / this.spacing;
    this.clampView();
    this.draw();
  }

  /** Zoom around the crosshair, or around the newest candle where that is in view. */
  zoomCentre() {
    if (this.crosshair !== null) return this.#xOfSlot(this.crosshair.slot);
    if (this.isFollowing) return Math.min(this.plotWidth, this.#xOfSlot(this.series.lastSlot));
    return this.plotWidth / 2;
  }

  /** Show every candle of the history, as they come. */
  fit() {
    // Other prices may need a wider axis, which leaves less room: known when they are drawn. More
    // than once would go back and forth between two widths.
    for (let round = 0, width = -1; round < 2 && width !== this.plotWidth; round += 1) {
      width = this.plotWidth;
      this.spacing = this.#leastSpacing();
      this.goLive();
      this.goal = this.series.first > 0 ? "all" : "";
      this.drawNow();
    }
  }

  goLive() {
    this.goal = "";
    this.right = this.series.lastSlot + Math.min(RIGHT_MARGIN_SLOTS, 48 / this.spacing);
    this.clampView();
    this.draw();
  }

  /** Show the oldest candles of the history, as they come. */
  goFirst() {
    this.goal = this.series.first > 0 ? "first" : "";
    this.right = this.series.firstSlot - 1 + this.plotWidth / this.spacing;
    this.clampView();
    this.draw();
  }

  /**
   * Show the candles of two indices and those between.
   * @param {number} first
   * @param {number} last
   */
  showRange(first, last) {
    this.goal = "";
    const [from, to] = [this.series.slotOf(first) - 0.5, this.series.slotOf(last) + 0.5];
    this.spacing = Math.min(MAX_SPACING_PX, Math.max(this.#leastSpacing(), this.plotWidth / (to - from)));
    this.right = to;
    this.clampView();
    this.draw();
  }

  #leastSpacing() {
    const slots = this.series.lastSlot - this.series.firstSlot + 1 + 2;
    return Math.min(FIRST_SPACING_PX, this.plotWidth / Math.max(LEAST_VISIBLE_SLOTS, slots));
  }

  /** Keep some candles in view. */
  clampView() {
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
    const start = current >= 0 ? current + candles : this.visible()[1] - 1;
    this.pointAt(Math.min(series.last, Math.max(series.first, start)));
  }

  /** @param {number} index of the candle that the crosshair shall show, scrolled into view */
  pointAt(index) {
    this.goal = "";
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
    if (series.count > 0) this.paint = drawPicture(this, this.#extras.marks);
    this.#drawCrosshair();
    if (series.count === 0) return;
    const [from, to] = this.visible();
    this.onRange(from, to - 1);
    const isNear = from - series.first < OLDER_AHEAD_SCREENS * (to - from);
    if (isNear && series.first > 0 && this.askedBefore !== series.first) {
      this.askedBefore = series.first;
      this.needsOlder();
    }
  }

  #drawCrosshair() {
    const { top, paint, series } = this;
    const isEmpty = this.crosshair === null || series.count === 0 || paint === null;
    // An empty canvas would still be laid over the other one in each frame.
    if (top.hidden !== isEmpty) top.hidden = isEmpty;
    if (this.crosshair === null || isEmpty) return;
    const topCtx = context2d(top, true);
    topCtx.clearRect(0, 0, top.width, top.height);
    const { crosshair } = this.#extras;
    const { slot, y } = this.crosshair;
    if (crosshair === undefined) this.#need("crosshair");
    else crosshair.drawCrosshair({ ...paint, ctx: topCtx }, slot, y === null ? null : y * this.dpr);
  }

  /** @returns {Range} first visible candle, and one after the last */
  visible() {
    const from = this.series.firstFrom(this.slotOf(0) - 0.5);
    const to = this.series.firstFrom(this.right + 0.5);
    return [from, to];
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
    if (oldPlot > 0) this.clampView();
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
 * @param {HTMLCanvasElement} canvas
 * @param {boolean} hasAlpha
 */
function context2d(canvas, hasAlpha) {
  const ctx = canvas.getContext("2d", { alpha: hasAlpha });
  if (ctx === null) throw new Error("this browser cannot draw on a canvas");
  return ctx;
}
