/**
 * What the charts of a report show: equity, drawdown, price, trades.
 *
 * Long series come as buckets of several candles, each with its lowest and highest value, so that
 * no spike is lost; where buckets are narrower than a pixel they are joined the same way.
 */

import { compact, fixed, price } from "../lib/format.js";
import { placeBefore, placeOf } from "./data.js";

// Markers shrink where a trade has fewer CSS pixels than this.
const ROOMY_PX = 14;
const TIGHT_PX = 2.5;
// Of the height that equity or candles keep, whatever else is to be seen.
const LEAST_SHARE = 0.3;
const MOST_SLOT_PX = 24;

/**
 * @typedef {import("./chart.js").Paint} Paint
 * @typedef {import("./chart.js").Pane} Pane
 * @typedef {Record<string, Float64Array | Float32Array>} Columns
 */

/**
 * First and one after the last place in view, one more on each side.
 * @param {ArrayLike<number>} times
 * @param {number} fromMs
 * @param {number} toMs
 */
function placesOf(times, fromMs, toMs) {
  const [from, to] = [placeOf(times, fromMs) - 1, placeOf(times, toMs) + 1];
  return [Math.max(0, from), Math.min(times.length, to)];
}

/**
 * @param {Columns} series
 * @param {number} fromMs
 * @param {number} toMs
 * @param {string} lowName
 * @param {string} highName
 * @returns {[number, number]}
 */
function rangeOf(series, fromMs, toMs, lowName, highName) {
  const [from, to] = placesOf(series.time, fromMs, toMs);
  let low = Infinity;
  let high = -Infinity;
  for (let i = from; i < to; i += 1) {
    if (series[lowName][i] < low) low = series[lowName][i];
    if (series[highName][i] > high) high = series[highName][i];
  }
  return [low, high];
}

/**
 * Trace a line through low and high of each pixel's buckets.
 * @param {Paint} paint
 * @param {Columns} series
 * @param {{low: string, high: string, last: string}} names
 * @returns {[number, number] | null} x of the first and last point
 */
function trace(paint, series, names) {
  const { ctx, view, xOf, scale } = paint;
  const [from, to] = placesOf(series.time, view.fromMs, view.toMs);
  const lows = series[names.low];
  const highs = series[names.high];
  const lasts = series[names.last];
  /** @type {[number, number] | null} */
  let ends = null;
  for (let i = from; i < to; ) {
    const x = Math.round(xOf(series.time[i]));
    let low = lows[i];
    let high = highs[i];
    let last = lasts[i];
    for (i += 1; i < to && Math.round(xOf(series.time[i])) === x; i += 1) {
      if (lows[i] < low) low = lows[i];
      if (highs[i] > high) high = highs[i];
      last = lasts[i];
    }
    if (ends === null) {
      ctx.moveTo(x, scale.yOf(last));
      ends = [x, x];
    } else if (high - low > 0) {
      ctx.lineTo(x, scale.yOf(high));
      ctx.lineTo(x, scale.yOf(low));
    }
    ctx.lineTo(x, scale.yOf(last));
    ends[1] = x;
  }
  return ends;
}

/**
 * @param {Columns} equity  time, low, high, last
 * @param {Columns | null} hold  time, last: the same money in the coin itself
 * @param {number} start  the start balance
 * @returns {Pane}
 */
export function equityPane(equity, hold, start) {
  return {
    share: 0.7,
    title: hold === null ? "Equity, USDT" : "Equity, USDT (thin: buy & hold)",
    label: (value) => (Math.abs(value) < 1e6 ? fixed(value || 0, 0) : compact(value)),
    tick: 1,
    range(fromMs, toMs) {
      const [low, high] = rangeOf(equity, fromMs, toMs, "low", "high");
      if (hold === null) return [low, high];
      const [under, over] = rangeOf(hold, fromMs, toMs, "last", "last");
      // However far the coin ran away, the equity keeps its share of the height.
      const room = Math.max(high - low, start * 0.01) * (1 / LEAST_SHARE - 1);
      const [least, most] = [low - room, high + room];
      return [Math.min(low, Math.max(under, least)), Math.max(high, Math.min(over, most))];
    },
    draw(paint) {
      const { ctx, dpr, theme, scale, right } = paint;
      ctx.setLineDash([4 * dpr, 4 * dpr]);
      ctx.strokeStyle = theme.muted;
      ctx.lineWidth = dpr;
      ctx.beginPath();
      ctx.moveTo(0, Math.round(scale.yOf(start)) + 0.5);
      ctx.lineTo(right, Math.round(scale.yOf(start)) + 0.5);
      ctx.stroke();
      ctx.setLineDash([]);
      if (hold !== null) {
        ctx.strokeStyle = theme.entry;
        ctx.lineWidth = dpr;
        ctx.globalAlpha = 0.55;
        ctx.beginPath();
        trace(paint, hold, { low: "last", high: "last", last: "last" });
        ctx.stroke();
        ctx.globalAlpha = 1;
      }
      ctx.strokeStyle = theme.accent;
      ctx.lineWidth = 1.8 * dpr;
      ctx.lineJoin = "round";
      ctx.beginPath();
      trace(paint, equity, { low: "low", high: "high", last: "last" });
      ctx.stroke();
    },
  };
}

/**
 * @param {Columns} equity  time, fall (per cent, at most 0)
 * @returns {Pane}
 */
export function drawdownPane(equity) {
  return {
    share: 0.3,
    title: "Drawdown",
    isTitleBelow: true,
    label(value) {
      const digits = Math.abs(value) < 0.1 ? 2 : 1;
      return `${fixed(value || 0, Number.isInteger(value) ? 0 : digits)} %`;
    },
    tick: 0.01,
    range: (fromMs, toMs) => [rangeOf(equity, fromMs, toMs, "fall", "fall")[0], 0],
    draw(paint) {
      const { ctx, theme, scale, dpr } = paint;
      ctx.beginPath();
      const ends = trace(paint, equity, { low: "fall", high: "fall", last: "fall" });
      if (ends === null) return;
      ctx.strokeStyle = theme.down;
      ctx.lineWidth = dpr;
      ctx.stroke();
      ctx.lineTo(ends[1], scale.yOf(0));
      ctx.lineTo(ends[0], scale.yOf(0));
      ctx.closePath();
      ctx.fillStyle = theme["down-faint"];
      ctx.globalAlpha = 0.7;
      ctx.fill();
      ctx.globalAlpha = 1;
    },
  };
}

/**
 * @param {Columns} candles  time, open, high, low, close
 * @param {number} decimals
 * @param {number[]} own  places of the trades of this market, by their entry
 * @param {Columns} trades
 * @param {{looked: () => number, chosen: () => number}} places  of the trade that is pointed at,
 *   and of the one that was asked for; -1 for none
 * @returns {Pane}
 */
export function pricePane(candles, decimals, own, trades, { looked, chosen }) {
  return {
    share: 1,
    title: "",
    tick: 10 ** -decimals,
    label: (value) => price(Number(value.toPrecision(12)), decimals),
    range(fromMs, toMs) {
      const range = rangeOf(candles, fromMs, toMs, "low", "high");
      const place = chosen();
      const isSeen = place >= 0 && trades.exitMs[place] >= fromMs && trades.entryMs[place] <= toMs;
      return isSeen ? widened(range, [trades.stop[place], trades.target[place]]) : range;
    },
    draw(paint) {
      drawZones(paint, trades, looked());
      drawCandles(paint, candles);
      drawTrades(paint, own, trades, looked());
    },
  };
}

/**
 * The range with those levels in it that leave the candles their share of the height.
 * @param {[number, number]} range
 * @param {number[]} levels
 * @returns {[number, number]}
 */
function widened([low, high], levels) {
  const span = high - low;
  for (const level of levels) {
    const [under, over] = [Math.min(low, level), Math.max(high, level)];
    if (span >= LEAST_SHARE * (over - under)) [low, high] = [under, over];
  }
  return [low, high];
}

/**
 * @param {Paint} paint
 * @param {Columns} candles
 */
function drawCandles(paint, candles) {
  const { ctx, view, xOf, theme, scale, right, dpr } = paint;
  const [from, to] = placesOf(candles.time, view.fromMs, view.toMs);
  const spacing = right / Math.max(1, to - from);
  if (spacing < 3 * dpr) {
    ctx.strokeStyle = theme.text;
    ctx.globalAlpha = 0.5;
    ctx.lineWidth = Math.max(1, dpr);
    ctx.beginPath();
    trace(paint, candles, { low: "low", high: "high", last: "close" });
    ctx.stroke();
    ctx.globalAlpha = 1;
    return;
  }
  const wick = Math.max(1, Math.floor(dpr));
  for (let i = from; i < to; i += 1) {
    const left = xOf(candles.time[i]);
    const next = candles.time[i + 1] ?? candles.time[i] + view.stepMs;
    // A gap in the data makes no wide candle.
    const slot = Math.min(xOf(next) - left, MOST_SLOT_PX * dpr);
    drawCandle(paint, candles, i, { middle: Math.round(left + slot / 2), width: slot * 0.7, wick });
  }
}

/**
 * @param {Paint} paint
 * @param {Columns} candles
 * @param {number} i
 * @param {{middle: number, width: number, wick: number}} place  device pixels
 */
function drawCandle({ ctx, scale, theme }, candles, i, { middle, width, wick }) {
  const y = (/** @type {number} */ value) => Math.round(scale.yOf(value));
  const [open, close] = [candles.open[i], candles.close[i]];
  const isUp = close >= open;
  const top = y(Math.max(open, close));
  const bottom = Math.max(top + wick, y(Math.min(open, close)));
  const [high, low] = [y(candles.high[i]), y(candles.low[i])];
  const left = Math.round(middle - width / 2);
  const body = Math.max(1, Math.round(width));
  ctx.fillStyle = isUp ? theme.up : theme.down;
  ctx.fillRect(middle, high, wick, top - high);
  ctx.fillRect(middle, bottom, wick, low - bottom);
  ctx.fillRect(left, top, body, bottom - top);
  // A candle that rises is hollow: colour is never the only sign.
  if (isUp && body > 4 * wick && bottom - top > 2 * wick) {
    ctx.fillStyle = theme.surface;
    ctx.fillRect(left + wick, top + wick, body - 2 * wick, bottom - top - 2 * wick);
  }
}

/**
 * Stop and target of the trade that is looked at, as bands from its entry to its exit.
 * @param {Paint} paint
 * @param {Columns} trades
 * @param {number} place
 */
function drawZones(paint, trades, place) {
  if (place < 0) return;
  const { ctx, xOf, scale, theme, dpr } = paint;
  const left = xOf(trades.entryMs[place]);
  const width = Math.max(6 * dpr, xOf(trades.exitMs[place]) - left);
  const entry = scale.yOf(trades.entry[place]);
  for (const [level, zone, line] of [
    [trades.stop[place], theme["stop-zone"], theme.stop],
    [trades.target[place], theme["target-zone"], theme.target],
  ]) {
    if (!Number.isFinite(level)) continue;
    const y = scale.yOf(Number(level));
    ctx.fillStyle = String(zone);
    ctx.fillRect(left, Math.min(y, entry), width, Math.abs(y - entry));
    ctx.fillStyle = String(line);
    ctx.fillRect(left, Math.round(y), width, Math.max(1, Math.round(1.5 * dpr)));
  }
}

/**
 * @param {Paint} paint
 * @param {number[]} own
 * @param {Columns} trades
 * @param {number} chosen
 */
function drawTrades(paint, own, trades, chosen) {
  const { view, dpr } = paint;
  const seen = own.filter(
    (place) => trades.exitMs[place] >= view.fromMs && trades.entryMs[place] <= view.toMs,
  );
  const room = paint.right / dpr / Math.max(1, seen.length);
  if (room < TIGHT_PX) drawDots(paint, trades, seen);
  else {
    const size = (room < ROOMY_PX ? 4 : 5) * dpr;
    for (const place of seen) drawTrade(paint, trades, place, size, false);
  }
  if (chosen >= 0 && own.includes(chosen)) drawTrade(paint, trades, chosen, 7 * dpr, true);
}

/**
 * Entries alone, one colour after the other: there is no room for more.
 * @param {Paint} paint
 * @param {Columns} trades
 * @param {number[]} places
 */
function drawDots(paint, trades, places) {
  const { ctx, xOf, scale, theme, dpr } = paint;
  const size = Math.round(2 * dpr);
  for (const isWon of [false, true]) {
    ctx.fillStyle = isWon ? theme.up : theme.down;
    for (const place of places) {
      if (trades.net[place] > 0 !== isWon) continue;
      const x = Math.round(xOf(trades.entryMs[place]));
      ctx.fillRect(x, Math.round(scale.yOf(trades.entry[place])) - size, size, 2 * size);
    }
  }
}

/**
 * @param {Paint} paint
 * @param {Columns} trades
 * @param {number} place
 * @param {number} size
 * @param {boolean} isChosen
 */
function drawTrade(paint, trades, place, size, isChosen) {
  const { ctx, xOf, scale, theme, dpr } = paint;
  const isWon = trades.net[place] > 0;
  const [x, y] = [xOf(trades.entryMs[place]), scale.yOf(trades.entry[place])];
  const [endX, endY] = [xOf(trades.exitMs[place]), scale.yOf(trades.exit[place])];
  const colour = isWon ? theme.up : theme.down;
  ctx.strokeStyle = colour;
  ctx.lineWidth = (isChosen ? 2 : 1.2) * dpr;
  ctx.setLineDash(isWon ? [] : [4 * dpr, 3 * dpr]);
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(endX, endY);
  ctx.stroke();
  ctx.setLineDash([]);
  // A triangle up below a long's entry, down above a short's; a square where it was left.
  const way = trades.isLong[place] ? 1 : -1;
  ctx.fillStyle = isChosen ? theme.text : colour;
  ctx.strokeStyle = theme.surface;
  ctx.lineWidth = dpr;
  ctx.beginPath();
  ctx.moveTo(x, y + way * dpr);
  ctx.lineTo(x - size, y + way * (size * 1.7 + dpr));
  ctx.lineTo(x + size, y + way * (size * 1.7 + dpr));
  ctx.closePath();
  ctx.fill();
  ctx.stroke();
  ctx.fillRect(endX - size * 0.6, endY - size * 0.6, size * 1.2, size * 1.2);
}

/**
 * The trade that was open at a time, the one that began last of several; -1 for none.
 * @param {number[]} own  by their entry
 * @param {Columns} trades
 * @param {number} ms
 * @param {number} reachMs  how far from a trade still counts
 */
export function tradeAt(own, trades, ms, reachMs) {
  let nearest = -1;
  let least = reachMs;
  for (const place of own) {
    const away = Math.max(trades.entryMs[place] - ms, ms - trades.exitMs[place], 0);
    if (away <= least) {
      nearest = place;
      least = away;
    }
  }
  return nearest;
}

/**
 * Buy & hold as columns: what the start balance would be worth in the coin.
 * @param {Columns} candles
 * @param {number} startMs
 * @param {number} start
 * @returns {Columns | null}
 */
export function holdOf(candles, startMs, start) {
  const first = placeBefore(candles.time, startMs);
  if (candles.time.length - first < 2) return null;
  const base = candles.open[first];
  return {
    time: candles.time.slice(first),
    last: Float64Array.from(candles.close.slice(first), (close) => (start * close) / base),
  };
}
