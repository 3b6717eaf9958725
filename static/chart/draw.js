/**
 * The base layers: grid, gaps, volume, candles, axes, last price, crosshair.
 *
 * Everything is drawn in device pixels at whole coordinates, so that edges stay sharp. A candle
 * that rises is hollow, one that falls is filled: colour is never the only sign.
 */

import { countdown, fixed } from "../lib/format.js";
import { lowerBound } from "./columns.js";

/**
 * What every drawing function needs to know; lengths are device pixels.
 * @typedef {object} Paint
 * @property {CanvasRenderingContext2D} ctx
 * @property {number} dpr
 * @property {Record<string, string>} theme   colours by token name
 * @property {Record<string, string>} words   texts by name
 * @property {string} zone                    whose wall time is shown
 * @property {number} width                   of the canvas
 * @property {number} height
 * @property {number} right                   the plot's right edge
 * @property {number} bottom                  the lowest pane's bottom
 * @property {Pane[]} panes                   from top to bottom, the price first
 * @property {Pane} pane                      the one that is drawn now
 * @property {import("./scale.js").PriceScale} scale  of that pane
 * @property {import("./columns.js").Series} series
 * @property {number} from                    first visible candle
 * @property {number} to                      one after the last visible candle
 * @property {number} spacing                 of a slot
 * @property {(slot: number) => number} xOf   of a slot's middle
 * @property {(x: number) => number} slotAt   the reverse
 * @property {number} decimals                of a price
 * @property {Tag[]} tags                     labels for the price axis, drawn last
 */

/**
 * @typedef {import("./panes.js").Pane} Pane
 * @typedef {{y: number, text: string, fill: string, ink: string, note?: string}} Tag
 */

/** @type {Map<string, number>} */
const widths = new Map();

/**
 * @param {Paint} paint
 * @param {number} size CSS pixels
 * @param {number} [weight]
 */
export function setFont(paint, size, weight = 400) {
  paint.ctx.font = `${weight} ${Math.round(size * paint.dpr)}px ${paint.theme.font}`;
}

/**
 * Width of a text in the present font; measuring costs more than drawing, so it is remembered.
 * @param {CanvasRenderingContext2D} ctx
 * @param {string} text
 */
export function widthOf(ctx, text) {
  const key = ctx.font + text;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > 3000) widths.clear();
    width = ctx.measureText(text).width;
    widths.set(key, width);
  }
  return width;
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {CanvasTextAlign} align
 * @param {CanvasTextBaseline} baseline
 */
export function alignText(ctx, align, baseline) {
  ctx.textAlign = align;
  ctx.textBaseline = baseline;
}

/**
 * Draw a horizontal line of one CSS pixel.
 * @param {Paint} paint
 * @param {number} y
 * @param {string} colour
 * @param {number[]} [dash] CSS pixels
 */
export function horizontal(paint, y, colour, dash = []) {
  const { ctx, dpr } = paint;
  const width = lineWidth(dpr);
  const middle = Math.round(y) + (width % 2) / 2;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.setLineDash(dash.map((length) => length * dpr));
  ctx.beginPath();
  ctx.moveTo(0, middle);
  ctx.lineTo(paint.right, middle);
  ctx.stroke();
  ctx.setLineDash([]);
}

/** @param {number} dpr */
export const lineWidth = (dpr) => Math.max(1, Math.floor(dpr));

/**
 * Run `draw` clipped to the paint's pane: what leaves it is cut, never bent.
 * @param {Paint} paint
 * @param {(paint: Paint) => void} draw
 */
export function clipped(paint, draw) {
  const { ctx, pane } = paint;
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, pane.top, paint.right, pane.bottom - pane.top);
  ctx.clip();
  draw(paint);
  ctx.restore();
}

/**
 * Visit what stands in each column of `step` pixels: its x, its first place and the one after.
 * @param {Paint} paint
 * @param {Float64Array} slot  ascending
 * @param {number} from
 * @param {number} to
 * @param {number} step
 * @param {(x: number, from: number, to: number) => void} visit
 */
export function eachColumn(paint, slot, from, to, step, visit) {
  while (from < to) {
    const x = Math.floor(paint.xOf(slot[from]) / step) * step;
    const edge = paint.slotAt(x + step);
    // No two stand in one slot: the next column's first is not far.
    const most = Math.min(to, from + 2 + Math.ceil(edge - slot[from]));
    const next = lowerBound(slot, from + 1, most, edge);
    visit(x, from, next);
    from = next;
  }
}

/**
 * Grid and guide lines of a pane, and its border to the one above.
 * @param {Paint} paint
 * @param {{slot: number}[]} times
 */
export function drawGrid(paint, times) {
  const { ctx, pane, theme, scale } = paint;
  const width = lineWidth(paint.dpr);
  ctx.fillStyle = theme.grid;
  for (const value of pane.ticks) ctx.fillRect(0, Math.round(scale.yOf(value)), paint.right, width);
  for (const { slot } of times) {
    ctx.fillRect(Math.round(paint.xOf(slot)), pane.top, width, pane.bottom - pane.top);
  }
  for (const guide of pane.guides) horizontal(paint, scale.yOf(guide), theme.muted, [1, 4]);
  if (pane.top === 0) return;
  ctx.fillStyle = theme.edge;
  ctx.fillRect(0, pane.top, paint.width, width);
}

/**
 * @param {Paint} paint
 * @param {string} text
 * @param {number} y
 */
export function drawTitle(paint, text, y) {
  const { ctx, dpr } = paint;
  if (text === "") return;
  setFont(paint, 11);
  ctx.fillStyle = paint.theme.surface;
  ctx.fillRect(6 * dpr, y - 2 * dpr, Math.min(widthOf(ctx, text), paint.right - 16 * dpr) + 4 * dpr, 15 * dpr);
  ctx.fillStyle = paint.theme.muted;
  alignText(ctx, "left", "top");
  ctx.fillText(text, 8 * dpr, y, paint.right - 16 * dpr);
}

/**
 * Hatch the slots of missing candles and say how many there are.
 * @param {Paint} paint
 */
export function drawGaps(paint) {
  const { ctx, series, theme, dpr } = paint;
  let drawn = -1;
  for (const i of series.gaps) {
    if (i < paint.from) continue;
    if (i > paint.to || i >= series.end) break;
    const left = Math.max(drawn, Math.round(paint.xOf(series.slot[i - 1] + 0.5)));
    const right = Math.max(left + 1, Math.round(paint.xOf(series.slot[i] - 0.5)));
    if (right <= drawn) continue;
    drawn = right;
    ctx.fillStyle = theme.gap;
    ctx.fillRect(left, 0, right - left, paint.bottom);
    if (right - left < 4 * dpr) continue;
    hatch(paint, left, right);
    const text = `${series.missingBefore(i)} ${paint.words.missing}`;
    setFont(paint, 10);
    if (widthOf(ctx, text) < right - left - 6 * dpr) {
      ctx.fillStyle = theme.muted;
      alignText(ctx, "center", "bottom");
      ctx.fillText(text, (left + right) / 2, paint.panes[0].bottom - 4 * dpr);
    }
  }
}

/**
 * @param {Paint} paint
 * @param {number} left
 * @param {number} right
 */
function hatch({ ctx, theme, dpr, bottom }, left, right) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, 0, right - left, bottom);
  ctx.clip();
  ctx.strokeStyle = theme.hatch;
  ctx.lineWidth = lineWidth(dpr);
  ctx.beginPath();
  for (let x = left - bottom; x < right; x += Math.round(8 * dpr)) {
    ctx.moveTo(x, bottom);
    ctx.lineTo(x + bottom, 0);
  }
  ctx.stroke();
  ctx.restore();
}

/** Whether candles are too narrow for bodies. @param {Paint} paint */
export const isDense = (paint) => paint.spacing < 2 * lineWidth(paint.dpr);

/**
 * Volume from the pane's bottom; of several candles in a pixel column the largest.
 * @param {Paint} paint
 */
export function drawVolume(paint) {
  const { ctx, series, theme, scale, pane } = paint;
  const { slot, open, close, volume } = series;
  /** @type {[number[], number[]]} */
  const bars = [[], []];
  const width = isDense(paint) ? lineWidth(paint.dpr) : bodyWidth(paint);
  const top = (/** @type {number} */ value) => Math.min(pane.bottom - 1, Math.round(scale.yOf(value)));
  if (isDense(paint)) {
    const most = series.most("volume");
    eachColumn(paint, slot, paint.from, paint.to, width, (x, from, to) => {
      const isUp = close[to - 1] >= open[from];
      bars[isUp ? 0 : 1].push(x, top(most.over(from, to)));
    });
  } else {
    for (let i = paint.from; i < paint.to; i += 1) {
      bars[close[i] >= open[i] ? 0 : 1].push(Math.round(paint.xOf(slot[i])) - (width >> 1), top(volume[i]));
    }
  }
  bars.forEach((list, kind) => {
    ctx.fillStyle = kind === 0 ? theme.upFaint : theme.downFaint;
    for (let k = 0; k < list.length; k += 2) {
      ctx.fillRect(list[k], list[k + 1], width, pane.bottom - list[k + 1]);
    }
  });
}

/**
 * Width of a candle's body: odd or even as the wick is, so that the wick stands in its middle.
 * @param {Paint} paint
 */
export function bodyWidth(paint) {
  const wick = lineWidth(paint.dpr);
  const width = Math.max(wick, Math.floor(paint.spacing * 0.72));
  if ((width - wick) % 2 === 0) return width;
  return width + wick < paint.spacing ? width + 1 : width - 1;
}

/** @param {Paint} paint */
export function drawCandles(paint) {
  if (isDense(paint)) drawColumns(paint);
  else drawBodies(paint);
}

/** @param {Paint} paint */
function drawBodies(paint) {
  const { ctx, series, theme, scale } = paint;
  const { slot, open, high, low, close } = series;
  const wick = lineWidth(paint.dpr);
  const width = bodyWidth(paint);
  const canBeHollow = width >= 3 * wick;
  const end = Math.min(paint.to, series.closed);
  for (const isUp of [true, false]) {
    ctx.fillStyle = isUp ? theme.up : theme.down;
    for (let i = paint.from; i < end; i += 1) {
      if (close[i] >= open[i] !== isUp) continue;
      const middle = Math.round(paint.xOf(slot[i])) - (wick >> 1);
      const highest = Math.round(scale.yOf(high[i]));
      const lowest = Math.round(scale.yOf(low[i]));
      if (width === wick) {
        ctx.fillRect(middle, highest, wick, Math.max(wick, lowest - highest));
        continue;
      }
      const left = middle - (width - wick) / 2;
      const top = Math.round(scale.yOf(isUp ? close[i] : open[i]));
      const bottom = Math.max(top + wick, Math.round(scale.yOf(isUp ? open[i] : close[i])));
      if (highest < top) ctx.fillRect(middle, highest, wick, top - highest);
      if (lowest > bottom) ctx.fillRect(middle, bottom, wick, lowest - bottom);
      if (isUp && canBeHollow && bottom - top > 2 * wick) {
        hollow(ctx, left, top, width, bottom - top, wick);
      } else {
        ctx.fillRect(left, top, width, bottom - top);
      }
    }
  }
  if (series.hasForming && paint.to === series.end) drawForming(paint);
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height
 * @param {number} edge
 */
function hollow(ctx, x, y, width, height, edge) {
  ctx.fillRect(x, y, width, edge);
  ctx.fillRect(x, y + height - edge, width, edge);
  ctx.fillRect(x, y + edge, edge, height - 2 * edge);
  ctx.fillRect(x + width - edge, y + edge, edge, height - 2 * edge);
}

/**
 * The forming candle: a dashed body on a light band, because it may still change.
 * @param {Paint} paint
 */
function drawForming(paint) {
  const { ctx, series, theme, scale, dpr, pane } = paint;
  const i = series.last;
  const wick = lineWidth(dpr);
  const width = bodyWidth(paint);
  const isUp = series.close[i] >= series.open[i];
  const middle = Math.round(paint.xOf(series.slot[i])) - (wick >> 1);
  const left = middle - (width - wick) / 2;
  const [open, close] = [scale.yOf(series.open[i]), scale.yOf(series.close[i])];
  const top = Math.round(Math.min(open, close));
  const bottom = Math.max(top + wick, Math.round(Math.max(open, close)));
  const band = Math.max(width, Math.round(paint.spacing));
  ctx.fillStyle = theme.formingBand;
  ctx.fillRect(middle - (band >> 1), pane.top, band, pane.bottom - pane.top);
  ctx.fillStyle = isUp ? theme.up : theme.down;
  const high = Math.round(scale.yOf(series.high[i]));
  const low = Math.round(scale.yOf(series.low[i]));
  if (high < top) ctx.fillRect(middle, high, wick, top - high);
  if (low > bottom) ctx.fillRect(middle, bottom, wick, low - bottom);
  if (width < 3 * wick || bottom - top <= 2 * wick) {
    ctx.fillRect(left, top, width, bottom - top);
    return;
  }
  if (!isUp) {
    ctx.fillStyle = theme.downFaint;
    ctx.fillRect(left, top, width, bottom - top);
  }
  ctx.strokeStyle = isUp ? theme.up : theme.down;
  ctx.lineWidth = wick;
  ctx.setLineDash([2 * dpr, 2 * dpr]);
  ctx.strokeRect(left + wick / 2, top + wick / 2, width - wick, bottom - top - wick);
  ctx.setLineDash([]);
}

/**
 * More candles than pixels: one bar from lowest low to highest high for each pixel column.
 * @param {Paint} paint
 */
function drawColumns(paint) {
  const { ctx, series, theme, scale } = paint;
  const { open, close } = series;
  const wick = lineWidth(paint.dpr);
  /** @type {[number[], number[]]} */
  const bars = [[], []];
  const most = series.most("high");
  const least = series.least("low");
  eachColumn(paint, series.slot, paint.from, paint.to, wick, (x, from, to) => {
    const top = Math.round(scale.yOf(most.over(from, to)));
    const bottom = Math.round(scale.yOf(least.over(from, to)));
    bars[close[to - 1] >= open[from] ? 0 : 1].push(x, top, Math.max(wick, bottom - top));
  });
  bars.forEach((list, kind) => {
    ctx.fillStyle = kind === 0 ? theme.up : theme.down;
    for (let k = 0; k < list.length; k += 3) ctx.fillRect(list[k], list[k + 1], wick, list[k + 2]);
  });
}

/**
 * The newest price: a dotted line, and a tag with the time left of the forming candle.
 * @param {Paint} paint
 * @param {number | null} venueNowMs
 */
export function drawLastPrice(paint, venueNowMs) {
  const { series, scale, theme, pane } = paint;
  const i = series.last;
  const close = series.close[i];
  const colour = close >= series.open[i] ? theme.up : theme.down;
  const y = scale.yOf(close);
  if (y >= pane.top && y <= pane.bottom) horizontal(paint, y, colour, [1, 3]);
  const isCounting = series.hasForming && venueNowMs !== null;
  const note = isCounting ? countdown(series.formingCloseMs - venueNowMs) : undefined;
  paint.tags.push({ y, text: fixed(close, paint.decimals), fill: colour, ink: theme.tagInk, note });
}

/**
 * The empty axes: the price axis at the right, the time axis below.
 * @param {Paint} paint
 * @param {{slot: number, label: string, isMajor: boolean}[]} times
 */
export function drawAxes(paint, times) {
  const { ctx, theme, dpr, right, bottom } = paint;
  const line = lineWidth(dpr);
  ctx.fillStyle = theme.edge;
  ctx.fillRect(right, 0, line, bottom);
  ctx.fillRect(0, bottom, paint.width, line);
  setFont(paint, 11);
  alignText(ctx, "center", "middle");
  for (const { slot, label, isMajor } of times) {
    const half = widthOf(ctx, label) / 2;
    const x = Math.min(Math.max(paint.xOf(slot), half + 2 * dpr), right - half);
    ctx.fillStyle = isMajor ? theme.text : theme.muted;
    ctx.fillText(label, x, bottom + 13 * dpr);
  }
}

/**
 * The labels of a pane's axis, where no tag stands.
 * @param {Paint} paint
 */
export function drawLabels(paint) {
  const { ctx, pane, dpr } = paint;
  const taken = placedTags(paint);
  setFont(paint, 11);
  ctx.fillStyle = paint.theme.muted;
  alignText(ctx, "left", "middle");
  for (const value of pane.ticks) {
    const y = paint.scale.yOf(value);
    if (y < pane.top + 7 * dpr || y > pane.bottom - 6 * dpr) continue;
    const isCovered = taken.some(({ top, height }) => y > top - 6 * dpr && y < top + height + 6 * dpr);
    if (!isCovered) ctx.fillText(pane.text(value), paint.right + 8 * dpr, y);
  }
}

/** @param {number} decimals */
export const priceText = (decimals) => (/** @type {number} */ value) => fixed(value, decimals);

/**
 * Where the labels of the price axis stand, moved apart where they would overlap.
 * @param {Paint} paint
 */
function placedTags(paint) {
  const { pane, dpr } = paint;
  if (pane.top > 0) return [];
  const sorted = paint.tags
    .map((tag) => ({ ...tag, height: (tag.note === undefined ? 18 : 31) * dpr }))
    .sort((a, b) => a.y - b.y);
  const tops = apart(sorted.map((tag) => Math.min(tag.y, pane.bottom) - 9 * dpr),
    sorted.map((tag) => tag.height + dpr), 0, pane.bottom);
  return sorted.map((tag, k) => ({ ...tag, top: Math.round(tops[k]) }));
}

/**
 * Push boxes apart that would overlap, within floor and ceiling.
 * @param {number[]} tops  ascending
 * @param {number[]} heights
 * @param {number} floor
 * @param {number} ceiling
 */
export function apart(tops, heights, floor, ceiling) {
  const placed = tops.map((top, k) => {
    const at = Math.max(floor, top);
    floor = at + heights[k];
    return at;
  });
  for (let k = placed.length - 1; k >= 0; k -= 1) {
    placed[k] = Math.min(placed[k], ceiling - heights[k]);
    ceiling = placed[k];
  }
  return placed;
}

/**
 * Draw the labels of the price axis. One whose price is out of view stands at the edge, with an
 * arrow.
 * @param {Paint} paint
 */
export function drawTags(paint) {
  for (const tag of placedTags(paint)) drawTag(paint, tag, tag.top);
}

/**
 * @param {Paint} paint
 * @param {Tag & {height: number}} tag
 * @param {number} top
 */
export function drawTag(paint, tag, top) {
  const { ctx, dpr, right } = paint;
  const arrow = tag.y < 0 ? "▲" : tag.y > paint.pane.bottom ? "▼" : "";
  ctx.fillStyle = tag.fill;
  ctx.fillRect(right, top, paint.width - right, tag.height);
  ctx.fillStyle = tag.ink;
  alignText(ctx, "left", "middle");
  setFont(paint, 11, 600);
  ctx.fillText(tag.text, right + 8 * dpr, top + 9.5 * dpr);
  if (arrow !== "") {
    setFont(paint, 7);
    ctx.fillText(arrow, right + dpr, top + 9.5 * dpr);
  }
  if (tag.note !== undefined) {
    setFont(paint, 10);
    ctx.fillText(tag.note, right + 8 * dpr, top + 22.5 * dpr);
  }
}
