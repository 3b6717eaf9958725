/**
 * The answers of GET /data as the chart's input. Their indices count from where each answer begins,
 * so that swing points, divergences and trades are found by their times.
 */

import { Series } from "./columns.js";

/**
 * Take an answer. Lists that it leaves out (null) are unchanged.
 * @param {import("./view.js").Chart} chart
 * @param {any} answer
 */
export function applyAnswer(chart, answer) {
  const { meta } = answer;
  const market = [meta.venue, meta.symbol, meta.interval].join(" ");
  const isSameMarket = market === chart.market && chart.series.count > 0;
  chart.market = market;
  chart.decimals = meta.priceDecimals;
  chart.title = meta.title;
  const { series: before, isFollowing } = chart;
  const ahead = chart.right - before.lastSlot;
  const rightMs = before.timeOfSlot(chart.right);
  const crosshairMs = chart.crosshair === null ? 0 : before.timeOfSlot(chart.crosshair.slot);
  if (!isSameMarket) chart.setSeries(new Series(meta));
  else if (!answer.increment) chart.series = new Series(meta);
  const { series } = chart;
  series.append(answer.historical.map(rowOf), answer.liveCandle && rowOf(answer.liveCandle));
  if (isFollowing) chart.right = series.lastSlot + ahead;
  else if (!answer.increment) {
    // Slots were numbered anew: the view stays at its time.
    chart.right = series.slotOfTime(rightMs) + chart.right - Math.round(chart.right);
  }
  if (chart.crosshair !== null) chart.crosshair.slot = series.slotOfTime(crosshairMs);
  chart.clampView();
  // Indices of such an answer count from where it begins: times are what stays.
  chart.setItems({
    zigzag: answer.zigzag && indexed(series, answer.zigzag, ["index", "time"]),
    divergences: answer.divergences
      && indexed(series, answer.divergences, ["startIndex", "startTime"], ["endIndex", "endTime"]),
  });
  chart.setTrades(answer.trades ?? chart.rawTrades);
  chart.setPosition(answer.position);
  if (!isSameMarket) chart.reset();
}

/** @param {{time: string, open: number, high: number, low: number, close: number, volume: number}} row */
const rowOf = ({ time, open, high, low, close, volume }) =>
  [Date.parse(time), open, high, low, close, volume];

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
