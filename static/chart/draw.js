/**
 * The base layers: grid, gaps, volume, candles, axes, last price, crosshair.
 *
 * Everything is drawn in device pixels at whole coordinates, so that edges stay sharp. A candle
 * that rises is hollow, one that falls is filled: colour is never the only sign.
 */

import { compact, countdown, fixed, openTime } from "../lib/format.js";

/**
 * What every drawing function needs to know.
 * @typedef {object} Paint
 * @property {CanvasRenderingContext2D} ctx
 * @property {number} dpr
 * @property {Record<string, string>} theme   colours by token name
 * @property {Layout} layout
 * @property {import("./data.js").Series} series
 * @property {import("./scale.js").PriceScale} scale  device pixels
 * @property {(slot: number) => number} xOf  device pixels of a slot's middle
 * @property {number} spacing                device pixels of a slot
 * @property {number} from                   first visible candle
 * @property {number} to                     one after the last visible candle
 * @property {number} decimals               of a price
 * @property {Tag[]} tags                    labels for the price axis, drawn last
 */

/**
 * @typedef {{width: number, height: number, right: number, bottom: number, priceTop: number,
 *   priceBottom: number, volumeTop: number, volumeBottom: number}} Layout  device pixels
 * @typedef {{y: number, text: string, fill: string, ink: string, note?: string}} Tag
 */

/**
 * @param {Paint} paint
 * @param {number} size CSS pixels
 * @param {number} [weight]
 */
export function setFont(paint, size, weight = 400) {
  paint.ctx.font = `${weight} ${Math.round(size * paint.dpr)}px ${paint.theme.font}`;
}

/**
 * Draw a horizontal line of one CSS pixel.
 * @param {Paint} paint
 * @param {number} y
 * @param {string} colour
 * @param {number[]} [dash] CSS pixels
 */
export function horizontal(paint, y, colour, dash = []) {
  const { ctx, dpr, layout } = paint;
  const width = lineWidth(dpr);
  const middle = Math.round(y) + (width % 2) / 2;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.setLineDash(dash.map((length) => length * dpr));
  ctx.beginPath();
  ctx.moveTo(0, middle);
  ctx.lineTo(layout.right, middle);
  ctx.stroke();
  ctx.setLineDash([]);
}

/** @param {number} dpr */
export const lineWidth = (dpr) => Math.max(1, Math.floor(dpr));

/**
 * @param {Paint} paint
 * @param {number[]} prices
 * @param {{slot: number}[]} times
 */
export function drawGrid(paint, prices, times) {
  const { ctx, layout, theme, scale, dpr } = paint;
  const width = lineWidth(dpr);
  ctx.fillStyle = theme.grid;
  for (const value of prices) ctx.fillRect(0, Math.round(scale.yOf(value)), layout.right, width);
  for (const { slot } of times) ctx.fillRect(Math.round(paint.xOf(slot)), 0, width, layout.bottom);
}

/**
 * @param {Paint} paint
 * @param {string} title
 */
export function drawTitle(paint, title) {
  const { ctx, layout, theme, dpr } = paint;
  setFont(paint, 11);
  ctx.fillStyle = theme.muted;
  ctx.textAlign = "left";
  ctx.textBaseline = "top";
  // In the volume pane, where no label of a level can cover it.
  const y = layout.volumeTop < layout.bottom ? layout.volumeTop + 6 * dpr : layout.bottom - 18 * dpr;
  ctx.fillText(title, 8 * dpr, y, layout.right - 16 * dpr);
}

/**
 * Hatch the slots of missing candles and say how many there are.
 * @param {Paint} paint
 */
export function drawGaps(paint) {
  const { ctx, series, layout, theme, dpr } = paint;
  for (let i = Math.max(1, paint.from); i < Math.min(series.count, paint.to + 1); i += 1) {
    if (series.slot[i] - series.slot[i - 1] < 1.5) continue;
    const left = Math.round(paint.xOf(series.slot[i - 1] + 0.5));
    const right = Math.round(paint.xOf(series.slot[i] - 0.5));
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, 0, Math.max(1, right - left), layout.bottom);
    ctx.clip();
    ctx.fillStyle = theme.gap;
    ctx.fillRect(left, 0, right - left, layout.bottom);
    hatch(ctx, left, right, layout.bottom, theme.hatch, dpr);
    ctx.restore();
    const text = `${series.missingBefore(i)} missing`;
    setFont(paint, 10);
    if (ctx.measureText(text).width < right - left - 6 * dpr) {
      ctx.fillStyle = theme.muted;
      ctx.textAlign = "center";
      ctx.textBaseline = "bottom";
      ctx.fillText(text, (left + right) / 2, layout.priceBottom - 4 * dpr);
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} left
 * @param {number} right
 * @param {number} height
 * @param {string} colour
 * @param {number} dpr
 */
function hatch(ctx, left, right, height, colour, dpr) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = lineWidth(dpr);
  ctx.beginPath();
  for (let x = left - height; x < right; x += Math.round(8 * dpr)) {
    ctx.moveTo(x, height);
    ctx.lineTo(x + height, 0);
  }
  ctx.stroke();
}

/**
 * @param {Paint} paint
 * @param {number} highest the largest volume in view
 */
export function drawVolume(paint, highest) {
  const { ctx, series, layout, theme } = paint;
  const room = layout.volumeBottom - layout.volumeTop;
  if (highest <= 0) return;
  const width = bodyWidth(paint);
  for (let i = paint.from; i < paint.to; i += 1) {
    ctx.fillStyle = series.close[i] >= series.open[i] ? theme.upFaint : theme.downFaint;
    const height = Math.max(1, Math.round((series.volume[i] / highest) * room));
    const x = Math.round(paint.xOf(series.slot[i])) - (width >> 1);
    ctx.fillRect(x, layout.volumeBottom - height, width, height);
  }
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
  if (paint.spacing < 2 * lineWidth(paint.dpr)) drawColumns(paint);
  else drawBodies(paint);
}

/** @param {Paint} paint */
function drawBodies(paint) {
  const { ctx, series, theme, scale } = paint;
  const wick = lineWidth(paint.dpr);
  const width = bodyWidth(paint);
  const canBeHollow = width >= 3 * wick;
  const end = Math.min(paint.to, series.closed);
  for (const isUp of [true, false]) {
    ctx.fillStyle = isUp ? theme.up : theme.down;
    for (let i = paint.from; i < end; i += 1) {
      if (series.close[i] >= series.open[i] !== isUp) continue;
      const middle = Math.round(paint.xOf(series.slot[i])) - (wick >> 1);
      const left = middle - (width - wick) / 2;
      const [top, bottom] = bodyOf(series, i, scale, wick);
      const high = Math.round(scale.yOf(series.high[i]));
      const low = Math.round(scale.yOf(series.low[i]));
      if (high < top) ctx.fillRect(middle, high, wick, top - high);
      if (low > bottom) ctx.fillRect(middle, bottom, wick, low - bottom);
      if (isUp && canBeHollow && bottom - top > 2 * wick) {
        hollow(ctx, left, top, width, bottom - top, wick);
      } else {
        ctx.fillRect(left, top, width, bottom - top);
      }
    }
  }
  if (series.hasForming && paint.to === series.count) drawForming(paint);
}

/**
 * @param {import("./data.js").Series} series
 * @param {number} i
 * @param {import("./scale.js").PriceScale} scale
 * @param {number} least
 * @returns {[number, number]} top and bottom of the body
 */
function bodyOf(series, i, scale, least) {
  const open = Math.round(scale.yOf(series.open[i]));
  const close = Math.round(scale.yOf(series.close[i]));
  const top = Math.min(open, close);
  return [top, Math.max(top + least, Math.max(open, close))];
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
  const { ctx, series, theme, scale, dpr, layout } = paint;
  const i = series.last;
  const wick = lineWidth(dpr);
  const width = bodyWidth(paint);
  const isUp = series.close[i] >= series.open[i];
  const middle = Math.round(paint.xOf(series.slot[i])) - (wick >> 1);
  const left = middle - (width - wick) / 2;
  const [top, bottom] = bodyOf(series, i, scale, wick);
  const band = Math.max(width, Math.round(paint.spacing));
  ctx.fillStyle = theme.formingBand;
  ctx.fillRect(middle - (band >> 1), 0, band, layout.bottom);
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
  const wick = lineWidth(paint.dpr);
  /** @type {[number[], number[]]} */
  const bars = [[], []];
  let i = paint.from;
  while (i < paint.to) {
    const x = Math.floor(paint.xOf(series.slot[i]) / wick) * wick;
    const open = series.open[i];
    let high = series.high[i];
    let low = series.low[i];
    let close = series.close[i];
    for (i += 1; i < paint.to; i += 1) {
      if (Math.floor(paint.xOf(series.slot[i]) / wick) * wick !== x) break;
      if (series.high[i] > high) high = series.high[i];
      if (series.low[i] < low) low = series.low[i];
      close = series.close[i];
    }
    const top = Math.round(scale.yOf(high));
    bars[close >= open ? 0 : 1].push(x, top, Math.max(wick, Math.round(scale.yOf(low)) - top));
  }
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
  const { series, scale, theme, layout } = paint;
  if (series.count === 0) return;
  const i = series.last;
  const close = series.close[i];
  const colour = close >= series.open[i] ? theme.up : theme.down;
  const y = scale.yOf(close);
  const isInView = y >= layout.priceTop && y <= layout.priceBottom;
  if (isInView) horizontal(paint, y, colour, [1, 3]);
  const isCounting = series.hasForming && venueNowMs !== null;
  const note = isCounting ? countdown(series.formingCloseMs - venueNowMs) : undefined;
  paint.tags.push({ y, text: fixed(close, paint.decimals), fill: colour, ink: theme.tagInk, note });
}

/**
 * @param {Paint} paint
 * @param {number[]} prices
 * @param {{slot: number, label: string, isMajor: boolean}[]} times
 */
export function drawAxes(paint, prices, times) {
  const { ctx, layout, theme, scale, dpr } = paint;
  ctx.fillStyle = theme.surface;
  ctx.fillRect(layout.right, 0, layout.width - layout.right, layout.height);
  ctx.fillRect(0, layout.bottom, layout.width, layout.height - layout.bottom);
  ctx.fillStyle = theme.edge;
  ctx.fillRect(layout.right, 0, lineWidth(dpr), layout.bottom);
  ctx.fillRect(0, layout.bottom, layout.width, lineWidth(dpr));
  ctx.fillRect(0, layout.volumeTop, layout.width, lineWidth(dpr));
  setFont(paint, 11);
  ctx.fillStyle = theme.muted;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  const taken = placedTags(paint);
  for (const value of prices) {
    const y = scale.yOf(value);
    if (y < 8 * dpr || y > layout.priceBottom - 6 * dpr) continue;
    const isCovered = taken.some(({ top, height }) => y > top - 6 * dpr && y < top + height + 6 * dpr);
    if (isCovered) continue;
    ctx.fillText(fixed(value, paint.decimals), layout.right + 8 * dpr, y);
  }
  ctx.textAlign = "center";
  for (const { slot, label, isMajor } of times) {
    const half = ctx.measureText(label).width / 2;
    const x = Math.min(Math.max(paint.xOf(slot), half + 2 * dpr), layout.right - half);
    ctx.fillStyle = isMajor ? theme.text : theme.muted;
    ctx.fillText(label, x, layout.bottom + 13 * dpr);
  }
}

/**
 * @param {Paint} paint
 * @param {number} highest
 */
export function drawVolumeAxis(paint, highest) {
  const { ctx, layout, theme, dpr } = paint;
  if (highest <= 0) return;
  setFont(paint, 10);
  ctx.fillStyle = theme.muted;
  ctx.textAlign = "left";
  ctx.textBaseline = "top";
  ctx.fillText(compact(highest), layout.right + 8 * dpr, layout.volumeTop + 5 * dpr);
}

/**
 * Where the labels of the price axis stand, moved apart where they would overlap.
 * @param {Paint} paint
 */
function placedTags(paint) {
  const { layout, dpr } = paint;
  const sorted = paint.tags
    .map((tag) => ({ ...tag, height: (tag.note === undefined ? 18 : 31) * dpr }))
    .sort((a, b) => a.y - b.y);
  let floor = 0;
  const tops = sorted.map((tag) => {
    const top = Math.max(floor, Math.min(tag.y, layout.priceBottom) - 9 * dpr);
    floor = top + tag.height + dpr;
    return top;
  });
  let ceiling = layout.priceBottom;
  for (let k = sorted.length - 1; k >= 0; k -= 1) {
    tops[k] = Math.min(tops[k], ceiling - sorted[k].height);
    ceiling = tops[k] - dpr;
  }
  return sorted.map((tag, k) => ({ ...tag, top: Math.round(tops[k]) }));
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
function drawTag(paint, tag, top) {
  const { ctx, layout, dpr } = paint;
  const left = layout.right;
  const arrow = tag.y < 0 ? "▲" : tag.y > layout.priceBottom ? "▼" : "";
  ctx.fillStyle = tag.fill;
  ctx.fillRect(left, top, layout.width - left, tag.height);
  ctx.fillStyle = tag.ink;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  setFont(paint, 11, 600);
  ctx.fillText(tag.text, left + 8 * dpr, top + 9.5 * dpr);
  if (arrow !== "") {
    setFont(paint, 7);
    ctx.fillText(arrow, left + dpr, top + 9.5 * dpr);
  }
  if (tag.note !== undefined) {
    setFont(paint, 10);
    ctx.fillText(tag.note, left + 8 * dpr, top + 22.5 * dpr);
  }
}

/**
 * @param {Paint} paint
 * @param {{x: number, y: number | null, slot: number}} at  device pixels
 */
export function drawCrosshair(paint, at) {
  const { ctx, layout, theme, dpr, scale, series } = paint;
  const width = lineWidth(dpr);
  ctx.strokeStyle = theme.crosshair;
  ctx.lineWidth = width;
  ctx.setLineDash([4 * dpr, 4 * dpr]);
  ctx.beginPath();
  const x = Math.round(at.x) + (width % 2) / 2;
  ctx.moveTo(x, 0);
  ctx.lineTo(x, layout.bottom);
  if (at.y !== null) {
    const y = Math.round(at.y) + (width % 2) / 2;
    ctx.moveTo(0, y);
    ctx.lineTo(layout.right, y);
  }
  ctx.stroke();
  ctx.setLineDash([]);
  if (at.y !== null && at.y < layout.priceBottom) {
    const text = fixed(scale.priceOf(at.y), paint.decimals);
    const tag = { y: at.y, text, fill: theme.crosshairTag, ink: theme.crosshairInk };
    drawTag(paint, { ...tag, height: 18 * dpr }, Math.round(at.y - 9 * dpr));
  }
  drawTimeTag(paint, at.x, openTime(series.timeOfSlot(at.slot), series.intervalMs));
}

/**
 * @param {Paint} paint
 * @param {number} middle
 * @param {string} text
 */
function drawTimeTag(paint, middle, text) {
  const { ctx, layout, theme, dpr } = paint;
  setFont(paint, 11, 600);
  const width = ctx.measureText(text).width + 14 * dpr;
  const left = Math.min(Math.max(0, middle - width / 2), layout.right - width);
  ctx.fillStyle = theme.crosshairTag;
  ctx.fillRect(Math.round(left), layout.bottom, Math.round(width), 22 * dpr);
  ctx.fillStyle = theme.crosshairInk;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillText(text, left + 7 * dpr, layout.bottom + 12 * dpr);
}
