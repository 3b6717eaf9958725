/**
 * Lines and histograms of a column: a stroke through its points while pixels outnumber them, else
 * for each pixel column a bar from the least to the greatest value, so that no extreme is lost.
 */

import { eachColumn, lineWidth } from "./draw.js";

/** @typedef {import("./draw.js").Paint} Paint */

/**
 * Points to join: `slot` and `value` hold them at the places `from` up to `to`.
 * @typedef {object} Track
 * @property {Float64Array} slot
 * @property {Float64Array} value
 * @property {number} from
 * @property {number} to
 * @property {import("./columns.js").Extremes} least  of stretches of `value`
 * @property {import("./columns.js").Extremes} most
 */

/**
 * @param {import("./columns.js").Series} series
 * @param {string} name
 * @param {number} from
 * @param {number} to
 * @returns {Track}
 */
export function trackOf(series, name, from, to) {
  return {
    slot: series.slot,
    value: series.columns[name],
    // One more on each side, so that the line reaches the edges.
    from: Math.max(series.first, from - 1),
    to: Math.min(series.end, to + 1),
    least: series.least(name),
    most: series.most(name),
  };
}

/**
 * @param {Paint} paint
 * @param {Track} track
 * @param {string} colour
 * @param {{width?: number, dash?: number[]}} [style]  CSS pixels; lines of one device pixel are drawn
 *   far quicker than wider ones
 */
export function drawLine(paint, track, colour, { width = 1, dash = [] } = {}) {
  const { ctx, dpr } = paint;
  const { slot, value, from, to } = track;
  if (to - from < 2) return;
  const step = lineWidth(dpr);
  const span = paint.xOf(slot[to - 1]) - paint.xOf(slot[from]);
  if (to - from > (2 * span) / step) {
    drawBars(paint, track, colour, Math.max(step, Math.round(width * dpr)));
    return;
  }
  ctx.strokeStyle = colour;
  ctx.lineWidth = width * dpr;
  ctx.lineJoin = "round"; // a mitre would overshoot the extremes
  ctx.setLineDash(dash.map((length) => length * dpr));
  ctx.beginPath();
  let isOpen = false;
  for (let i = from; i < to; i += 1) {
    const at = value[i];
    // NaN is where an indicator has no value: the line is open there.
    if (at !== at) isOpen = false;
    else if (isOpen) ctx.lineTo(paint.xOf(slot[i]), paint.scale.yOf(at));
    else {
      ctx.moveTo(paint.xOf(slot[i]), paint.scale.yOf(at));
      isOpen = true;
    }
  }
  ctx.stroke();
  ctx.setLineDash([]);
}

/**
 * @param {Paint} paint
 * @param {Track} track
 * @param {string} colour
 * @param {number} thick
 */
function drawBars(paint, track, colour, thick) {
  const { ctx, scale } = paint;
  const { slot, value } = track;
  const step = lineWidth(paint.dpr);
  ctx.fillStyle = colour;
  let before = NaN;
  eachColumn(paint, slot, track.from, track.to, step, (x, from, to) => {
    // The stretch from the point before belongs to this column: the line has no holes.
    const low = Math.min(track.least.over(from, to), before === before ? before : Infinity);
    const high = Math.max(track.most.over(from, to), before === before ? before : -Infinity);
    before = value[to - 1];
    if (!(low <= high)) return;
    const top = Math.round(scale.yOf(high) - thick / 2);
    ctx.fillRect(x, top, step, Math.round(scale.yOf(low) - thick / 2) - top + thick);
  });
}

/**
 * Bars from zero, lighter below it than above.
 * @param {Paint} paint
 * @param {string} name
 * @param {number} width
 */
export function drawHistogram(paint, name, width) {
  const { ctx, series, scale, theme } = paint;
  const { slot } = series;
  const zero = Math.round(scale.yOf(0));
  const step = Math.max(lineWidth(paint.dpr), Math.round(width));
  const isDense = paint.spacing < step;
  for (const isUp of [true, false]) {
    ctx.fillStyle = isUp ? theme.upFaint : theme.downFaint;
    const bar = (/** @type {number} */ x, /** @type {number} */ value) => {
      const y = Math.round(scale.yOf(value));
      if (isUp ? value > 0 : value < 0) ctx.fillRect(x, Math.min(y, zero), step, Math.max(1, Math.abs(zero - y)));
    };
    if (isDense) {
      eachColumn(paint, slot, paint.from, paint.to, step, (x, from, to) => {
        bar(x, (isUp ? series.most(name) : series.least(name)).over(from, to));
      });
    } else {
      const values = series.columns[name];
      for (let i = paint.from; i < paint.to; i += 1) {
        bar(Math.round(paint.xOf(slot[i])) - (step >> 1), values[i]);
      }
    }
  }
}
