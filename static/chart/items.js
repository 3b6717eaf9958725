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
/** @type {Record<string, {sign: 1 | -1, isHidden: boolean}>} */
const KINDS = {
  bullish: { sign: 1, isHidden: false },
  bearish: { sign: -1, isHidden: false },
  hidden_bullish: { sign: 1, isHidden: true },
  hidden_bearish: { sign: -1, isHidden: true },
};

/** Swing points in their slots, oldest first. */
export class Swings {
  /**
   * @param {Series} series
   * @param {Swing[]} items  by absolute index
   */
  constructor(series, items) {
    this.items = items;
    this.slot = Float64Array.from(items, (item) => series.slotOf(item.index));
    this.value = Float64Array.from(items, (item) => item.value);
    this.low = new Extremes(this.value, 1);
    this.high = new Extremes(this.value, -1);
    if (items.length > 0) this.low.touch(0, items.length);
    if (items.length > 0) this.high.touch(0, items.length);
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
  const { items, low, high } = swings;
  let end = to;
  while (end - 1 > from && !items[end - 1].confirmed) end -= 1;
  const track = {
    slot: swings.slot, value: swings.value, from, to: end,
    least: low.over.bind(low), most: high.over.bind(high),
  };
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
    this.items = items.filter((item) => item.type in KINDS).sort((a, b) => a.startIndex - b.startIndex);
    this.start = Float64Array.from(this.items, (item) => series.slotOf(item.startIndex));
    this.end = Float64Array.from(this.items, (item) => series.slotOf(item.endIndex));
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
  const { items, start, end, longest } = divergences;
  const { ctx, theme, dpr, scale, right } = paint;
  const from = lowerBound(start, 0, items.length, paint.slotAt(0) - longest);
  const to = lowerBound(start, 0, items.length, paint.slotAt(right));
  /** Lines of one look are stroked at once. @type {Map<string, number[][]>} */
  const looks = new Map();
  for (let k = from; k < to; k += 1) {
    const x2 = paint.xOf(end[k]);
    if (x2 < 0) continue;
    const item = items[k];
    const line = [
      paint.xOf(start[k]), scale.yOf(item[`start${what}`]), x2, scale.yOf(item[`end${what}`]),
    ];
    const look = item.type + (item.confirmed === false ? "?" : "");
    const lines = looks.get(look);
    if (lines === undefined) looks.set(look, [line]);
    else lines.push(line);
  }
  /** @type {Box[]} */
  const taken = [];
  for (const [look, lines] of looks) {
    const type = look.replace("?", "");
    const { sign, isHidden } = KINDS[type];
    const colour = sign > 0 ? theme.bull : theme.bear;
    ctx.globalAlpha = look === type ? 1 : 0.6;
    strokeLines(paint, lines, colour, isHidden);
    const roomy = lines.filter((line) => line[2] - line[0] >= DOTS_NEED_PX * dpr);
    ends(paint, roomy, sign, colour);
    if (what === "Price") {
      // Newest first: where labels would overlap, the newest one is kept.
      for (const line of roomy.reverse()) label(paint, line, { sign, colour, text: paint.words[type] }, taken);
    }
  }
  ctx.globalAlpha = 1;
}

/**
 * @param {Paint} paint
 * @param {number[][]} lines
 * @param {string} colour
 * @param {boolean} isHidden
 */
function strokeLines(paint, lines, colour, isHidden) {
  const { ctx, dpr } = paint;
  const thin = 2 * lineWidth(dpr);
  ctx.strokeStyle = ctx.fillStyle = colour;
  ctx.lineWidth = 2 * dpr;
  ctx.setLineDash(isHidden ? [6 * dpr, 4 * dpr] : []);
  ctx.beginPath();
  let strokes = 0;
  for (const [x1, y1, x2, y2] of lines) {
    if (x2 - x1 <= thin) {
      // Too short to slant: a bar, a stretch of it if it is hidden.
      const top = Math.round(Math.min(y1, y2));
      ctx.fillRect(Math.floor(x1), top, thin, Math.max(thin, Math.round(Math.abs(y2 - y1))));
      continue;
    }
    ctx.moveTo(x1, y1);
    ctx.lineTo(x2, y2);
    strokes += 1;
  }
  if (strokes > 0) ctx.stroke();
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
