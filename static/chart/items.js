/**
 * What is drawn over the candles: ZigZag and divergences. All values come from the server; nothing
 * is computed from prices here.
 */

import { Extremes, lowerBound } from "./columns.js";
import { alignText, lineWidth, setFont, widthOf } from "./draw.js";
import { drawLine } from "./lines.js";

/**
 * @typedef {import("./draw.js").Paint} Paint
 * @typedef {import("./columns.js").Series} Series
 * @typedef {{index: number, value: number, type: string, label: string, confirmed: boolean}} Swing
 * @typedef {{type: string, startIndex: number, endIndex: number, startPrice: number,
 *   endPrice: number, startRSI: number, endRSI: number, confirmed?: boolean}} Divergence
 */

// Closer together than this, labels and dots would hide what they belong to.
const LABELS_NEED_PX = 22;
const DOTS_NEED_PX = 10;
/** @type {{type: string, sign: 1 | -1, isHidden: boolean}[]} */
const KINDS = [
  { type: "bullish", sign: 1, isHidden: false },
  { type: "bearish", sign: -1, isHidden: false },
  { type: "hidden_bullish", sign: 1, isHidden: true },
  { type: "hidden_bearish", sign: -1, isHidden: true },
];

/**
 * @template T
 * @param {T[]} items
 * @param {(item: T) => number} of
 */
function column(items, of) {
  const values = new Float64Array(items.length);
  for (let k = 0; k < items.length; k += 1) values[k] = of(items[k]);
  return values;
}

/** Swing points in their slots, oldest first. */
export class Swings {
  /**
   * @param {Series} series
   * @param {Swing[]} items  by absolute index
   */
  constructor(series, items) {
    this.items = items;
    this.slot = column(items, (item) => series.slotOf(item.index));
    this.value = column(items, (item) => item.value);
    this.least = new Extremes(this.value, 1, 0, items.length);
    this.most = new Extremes(this.value, -1, 0, items.length);
  }

  /**
   * The places in view, with one more on each side so that lines reach the edges.
   * @param {Paint} paint
   * @returns {[number, number]} first, and one after the last
   */
  inView(paint) {
    const count = this.items.length;
    const from = lowerBound(this.slot, 0, count, paint.slotAt(0));
    const to = lowerBound(this.slot, 0, count, paint.slotAt(paint.right));
    return [Math.max(0, from - 1), Math.min(count, to + 1)];
  }
}

/**
 * Swing points joined by one line; the leg to the provisional point is dashed.
 * @param {Paint} paint
 * @param {Swings} swings
 */
export function drawZigzag(paint, swings) {
  const [from, to] = swings.inView(paint);
  const { items, slot, value, least, most } = swings;
  let end = to;
  while (end - 1 > from && !items[end - 1].confirmed) end -= 1;
  const track = { slot, value, from, to: end, least, most };
  const width = paint.spacing < 2 * paint.dpr ? 1 : 1.5;
  drawLine(paint, track, paint.theme.zigzag, { width });
  drawLine(paint, { ...track, from: end - 1, to }, paint.theme.zigzag, { width, dash: [5, 4] });
  labelSwings(paint, swings, from, to);
}

/**
 * @param {Paint} paint
 * @param {Swings} swings
 * @param {number} from
 * @param {number} to
 */
function labelSwings(paint, swings, from, to) {
  const { ctx, theme, dpr, series, scale, pane } = paint;
  const span = paint.xOf(swings.slot[to - 1]) - paint.xOf(swings.slot[from]);
  if (!(span / (to - from - 1) >= LABELS_NEED_PX * dpr * 0.6)) return;
  setFont(paint, 10, 600);
  for (let k = from; k < to; k += 1) {
    const { index, type, label, confirmed } = swings.items[k];
    const x = paint.xOf(swings.slot[k]);
    if (index < series.first || x < 0 || x > paint.right) continue;
    const isPeak = type === "peak";
    const y = scale.yOf(isPeak ? series.high[index] : series.low[index]) + (isPeak ? -6 : 6) * dpr;
    if (y < pane.top || y > pane.bottom) continue;
    ctx.globalAlpha = confirmed ? 1 : 0.75;
    ctx.fillStyle = theme.zigzagText;
    alignText(ctx, "center", isPeak ? "bottom" : "top");
    ctx.fillText((isPeak ? "▴ " : "▾ ") + label, x, y);
  }
  ctx.globalAlpha = 1;
}

/** Divergences in their slots, ordered by their beginning. */
export class Divergences {
  /**
   * @param {Series} series
   * @param {Divergence[]} items  by absolute indices
   */
  constructor(series, items) {
    const known = items.filter((item) => KINDS.some((kind) => kind.type === item.type));
    known.sort((a, b) => a.startIndex - b.startIndex);
    this.start = column(known, (item) => series.slotOf(item.startIndex));
    this.end = column(known, (item) => series.slotOf(item.endIndex));
    this.Price = [column(known, (item) => item.startPrice), column(known, (item) => item.endPrice)];
    this.RSI = [column(known, (item) => item.startRSI), column(known, (item) => item.endRSI)];
    /** Index of its kind; beyond them those that may still vanish. */
    this.look = column(known, (item) =>
      KINDS.findIndex((kind) => kind.type === item.type) + (item.confirmed === false ? KINDS.length : 0));
    this.longest = this.end.reduce((longest, end, k) => Math.max(longest, end - this.start[k]), 0);
  }
}

/**
 * Divergence lines: solid for regular ones, dashed for hidden ones, each with an arrow and its
 * name. One whose end lies outside the view is cut at the edge; its label stays on what is seen.
 * @param {Paint} paint
 * @param {Divergences} divergences
 * @param {"Price" | "RSI"} what  which of their values this pane shows
 */
export function drawDivergences(paint, divergences, what) {
  const { ctx, dpr, theme } = paint;
  /** @type {Box[]} */
  const taken = [];
  sorted(paint, divergences, what).forEach(({ lines, bars }, k) => {
    const { type, sign, isHidden } = KINDS[k % KINDS.length];
    const colour = sign > 0 ? theme.bull : theme.bear;
    ctx.globalAlpha = k < KINDS.length ? 1 : 0.6;
    strokeLines(paint, lines, colour, isHidden);
    for (const [x, top, width, bottom] of bars) ctx.fillRect(x, top, width, bottom - top);
    const roomy = lines.filter((line) => line[2] - line[0] >= DOTS_NEED_PX * dpr);
    ends(paint, roomy, sign, colour);
    if (what === "RSI") return;
    // Newest first: where labels would overlap, the newest one is kept.
    for (const line of roomy.reverse()) label(paint, line, { sign, colour, text: paint.words[type] }, taken);
  });
  ctx.globalAlpha = 1;
}

/**
 * The lines in view by look, and for those too short to slant a bar in each pixel column: there may
 * be many thousands.
 * @param {Paint} paint
 * @param {Divergences} divergences
 * @param {"Price" | "RSI"} what
 */
function sorted(paint, divergences, what) {
  const { start, end, look, longest } = divergences;
  const [first, second] = divergences[what];
  const { scale } = paint;
  const thin = 2 * lineWidth(paint.dpr);
  const from = lowerBound(start, 0, start.length, paint.slotAt(0) - longest);
  const to = lowerBound(start, 0, start.length, paint.slotAt(paint.right));
  const looks = Array.from({ length: 2 * KINDS.length }, () => ({
    lines: /** @type {number[][]} */ ([]), bars: /** @type {number[][]} */ ([]),
  }));
  for (let k = from; k < to; k += 1) {
    const x2 = paint.xOf(end[k]);
    if (x2 < 0) continue;
    const { lines, bars } = looks[look[k]];
    const [x1, y1, y2] = [paint.xOf(start[k]), scale.yOf(first[k]), scale.yOf(second[k])];
    if (x2 - x1 > thin) {
      lines.push([x1, y1, x2, y2]);
      continue;
    }
    const x = Math.floor(x1);
    const top = Math.round(Math.min(y1, y2));
    const bottom = Math.max(top + thin, Math.round(Math.max(y1, y2)));
    const bar = bars[bars.length - 1];
    if (bar === undefined || bar[0] !== x) bars.push([x, top, thin, bottom]);
    else {
      bar[1] = Math.min(bar[1], top);
      bar[3] = Math.max(bar[3], bottom);
    }
  }
  return looks;
}

/**
 * @param {Paint} paint
 * @param {number[][]} lines
 * @param {string} colour
 * @param {boolean} isHidden
 */
function strokeLines({ ctx, dpr }, lines, colour, isHidden) {
  ctx.strokeStyle = ctx.fillStyle = colour;
  if (lines.length === 0) return;
  ctx.lineWidth = 2 * dpr;
  ctx.setLineDash(isHidden ? [6 * dpr, 4 * dpr] : []);
  ctx.beginPath();
  for (const [x1, y1, x2, y2] of lines) {
    ctx.moveTo(x1, y1);
    ctx.lineTo(x2, y2);
  }
  ctx.stroke();
  ctx.setLineDash([]);
}

/**
 * An arrow at the later end, a dot at the earlier one.
 * @param {Paint} paint
 * @param {number[][]} lines
 * @param {1 | -1} sign
 * @param {string} colour
 */
function ends({ ctx, dpr }, lines, sign, colour) {
  ctx.fillStyle = colour;
  ctx.beginPath();
  for (const [x1, y1, x2, y2] of lines) {
    ctx.rect(Math.round(x1 - 2 * dpr), Math.round(y1 - 2 * dpr), 4 * dpr, 4 * dpr);
    ctx.moveTo(x2, y2 + sign * dpr);
    ctx.lineTo(x2 - 4 * dpr, y2 + sign * 8 * dpr);
    ctx.lineTo(x2 + 4 * dpr, y2 + sign * 8 * dpr);
    ctx.closePath();
  }
  ctx.fill();
}

/** @typedef {{left: number, right: number, top: number}} Box */

/**
 * @param {Paint} paint
 * @param {number[]} line
 * @param {{sign: 1 | -1, colour: string, text: string}} look
 * @param {Box[]} taken
 */
function label(paint, [x1, y1, x2, y2], { sign, colour, text }, taken) {
  const { ctx, dpr, right } = paint;
  if (x2 - x1 < LABELS_NEED_PX * dpr) return;
  const middle = (Math.max(x1, 0) + Math.min(x2, right)) / 2;
  const y = y1 + ((y2 - y1) * (middle - x1)) / (x2 - x1) + sign * 15 * dpr;
  setFont(paint, 10, 600);
  const half = widthOf(ctx, text) / 2;
  const x = Math.min(Math.max(middle, half + 4 * dpr), right - half - 4 * dpr);
  const box = { left: x - half, right: x + half, top: y - 7 * dpr };
  const isBlocked = taken.some(
    (other) =>
      box.left < other.right && box.right > other.left && Math.abs(box.top - other.top) < 14 * dpr,
  );
  if (isBlocked) return;
  taken.push(box);
  ctx.fillStyle = paint.theme.surface;
  ctx.fillRect(Math.round(box.left - 2 * dpr), Math.round(box.top), Math.round(2 * half + 4 * dpr), 14 * dpr);
  alignText(ctx, "center", "middle");
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
}
