/**
 * One picture of a chart: where panes, scales and ticks are, then everything in its order.
 */

import { fixed } from "../lib/format.js";
import {
  clipped, drawAxes, drawCandles, drawGaps, drawGrid, drawLabels,
  drawLastPrice, drawTags, drawTitle, drawVolume, priceText, setFont, widthOf,
} from "./draw.js";
import { drawDivergences, drawZigzag } from "./items.js";
import { drawHistogram, drawLine, trackOf } from "./lines.js";
import { laidOut, plansOf, scaleOf } from "./panes.js";
import { PriceScale, priceTicks, timeTicks } from "./scale.js";

const TIME_AXIS_PX = 24;
// Stop and target widen the price range only while candles keep at least this share of it.
const LEAST_CANDLE_SHARE = 0.4;
const LINE_DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

/**
 * @typedef {import("./view.js").Chart} Chart
 * @typedef {import("./draw.js").Paint} Paint
 * @typedef {typeof import("./marks.js") | undefined} Marks  undefined until they are loaded
 */

/**
 * Draw all but the crosshair on an empty canvas; return how it was painted.
 * @param {Chart} chart
 * @param {Marks} marks
 */
export function drawPicture(chart, marks) {
  let paint = paintOf(chart);
  if (fitAxis(chart, paint)) paint = paintOf(chart);
  const { dpr, panes } = paint;
  const apart = 84 / chart.spacing;
  const times = timeTicks(chart.series, chart.slotOf(0), chart.right, apart, paint.zone);
  drawGaps(paint);
  for (const pane of panes) {
    const own = { ...paint, pane, scale: pane.scale };
    drawGrid(own, times);
    clipped(own, (clip) => {
      if (pane.name === "price") drawPrice(chart, marks, clip);
      else drawPane(chart, clip);
    });
  }
  // In the volume pane, where no label of a level can cover it.
  const below = panes[1]?.top ?? paint.bottom - 24 * dpr;
  drawTitle(paint, chart.title, below + 6 * dpr);
  drawAxes(paint, times);
  for (const pane of panes) drawLabels({ ...paint, pane, scale: pane.scale });
  drawTags(paint);
  return paint;
}

/**
 * @param {Chart} chart
 * @param {Marks} marks
 * @param {Paint} paint
 */
function drawPrice(chart, marks, paint) {
  const { position, layers } = chart;
  if (position !== null && marks) marks.drawPositionZones(paint, position, openSlot(chart));
  drawCandles(paint);
  drawLines(paint);
  if (layers.zigzag) drawZigzag(paint, chart.swings);
  if (layers.divergences) drawDivergences(paint, chart.divergences, "Price");
  drawLastPrice(paint, chart.venueNow());
  if (position !== null && marks) marks.drawPositionLines(paint, position);
  if (layers.trades && marks) marks.drawMarks(paint, chart.trades);
  if (layers.notes !== false && marks) marks.drawNotes(paint, chart.notes);
}

/**
 * @param {Chart} chart
 * @param {Paint} paint
 */
function drawPane(chart, paint) {
  const { pane } = paint;
  if (pane.name === "volume") drawVolume(paint);
  if (pane.histogram && paint.series.columns[pane.histogram]) {
    drawHistogram(paint, pane.histogram, paint.spacing * 0.5);
  }
  drawLines(paint);
  if (pane.name === "rsi" && chart.layers.divergences) drawDivergences(paint, chart.divergences, "RSI");
  const word = pane.name === "stochastic" ? paint.words.stochastic : undefined;
  drawTitle(paint, word ?? pane.title, pane.top + 6 * paint.dpr);
}

/** @param {Paint} paint */
function drawLines(paint) {
  paint.pane.lines.forEach((name, k) => {
    const colour = paint.theme[`line${(k % 4) + 1}`] ?? paint.theme.text;
    const track = trackOf(paint.series, name, paint.from, paint.to);
    drawLine(paint, track, colour, { dash: LINE_DASHES[k % 4] });
  });
}

/** @param {Chart} chart */
function openSlot({ position, series }) {
  const index = position.openTime === null ? -1 : series.indexOfTime(Date.parse(position.openTime));
  return index < 0 ? -1e9 : series.slot[index];
}

/**
 * @param {Chart} chart
 * @returns {Paint}
 */
function paintOf(chart) {
  const { ctx, dpr, series, spacing, right, decimals, canvas } = chart;
  const [from, to] = chart.visible();
  const edge = Math.round(canvas.width - chart.axisWidth * dpr);
  const bottom = Math.round(canvas.height - TIME_AXIS_PX * dpr);
  const plans = laidOut(plansOf(series, chart.layers, chart.plots), chart.shares, bottom, dpr);
  const panes = plans.map((plan) => {
    const range = chart.ranges.get(plan.name);
    const scaled = plan.name === "price"
      ? { scale: priceScale(chart, plan, from, to), tick: 10 ** -decimals, text: priceText(decimals) }
      : scaleOf(plan, series, from, to, { decimals, range });
    const height = plan.bottom - plan.top;
    const gap = dpr * (height < 120 * dpr ? 22 : height < 300 * dpr ? 34 : 46);
    return { ...plan, ...scaled, ticks: priceTicks(scaled.scale, gap, scaled.tick) };
  });
  const step = spacing * dpr;
  return {
    ctx, dpr, series, from, to, panes, decimals, bottom,
    theme: chart.theme, words: chart.words, zone: chart.shownZone,
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

/**
 * @param {Chart} chart
 * @param {{top: number, bottom: number}} pane
 * @param {number} from
 * @param {number} to
 */
function priceScale(chart, pane, from, to) {
  const { dpr, ranges } = chart;
  const chosen = ranges.get("price");
  if (chosen !== undefined) {
    const isLog = chart.isLog && chosen[0] > 0;
    return new PriceScale(chosen[0], chosen[1], pane.top, pane.bottom, isLog);
  }
  let [low, high] = priceRange(chart, from, to);
  const candles = Math.max(high - low, 10 ** -chart.decimals * 4);
  for (const level of levelsToFit(chart)) {
    const [wideLow, wideHigh] = [Math.min(low, level), Math.max(high, level)];
    if (candles >= LEAST_CANDLE_SHARE * (wideHigh - wideLow)) [low, high] = [wideLow, wideHigh];
  }
  const middle = (low + high) / 2;
  const half = (Math.max(high - low, candles) / 2) * 1.02;
  const isLog = chart.isLog && middle - half > 0;
  const top = pane.top + 26 * dpr;
  const bottom = Math.max(top + 1, pane.bottom - 22 * dpr);
  const inner = new PriceScale(middle - half, middle + half, top, bottom, isLog);
  // Ticks and lines reach into the margins above and below the candles.
  return new PriceScale(
    inner.priceOf(pane.bottom), inner.priceOf(pane.top), pane.top, pane.bottom, isLog,
  );
}

/**
 * @param {Chart} chart
 * @param {number} from
 * @param {number} to
 * @returns {[number, number]}
 */
function priceRange({ series }, from, to) {
  const low = series.least("low").over(from, to);
  const high = series.most("high").over(from, to);
  if (low <= high) return [low, high];
  const close = series.close[series.last];
  return [close, close];
}

/** @param {Chart} chart */
function levelsToFit({ position, isFollowing }) {
  if (position === null || !isFollowing) return [];
  const { entryPrice, stopPrice, targetPrice } = position;
  return [entryPrice, stopPrice, targetPrice].filter((level) => level !== null).map(Number);
}

/**
 * Widen or narrow the price axis to its labels; true where it changed.
 * @param {Chart} chart
 * @param {Paint} paint
 */
function fitAxis(chart, paint) {
  const { position, decimals } = chart;
  const texts = position === null ? [] : [position.targetPrice, position.stopPrice]
    .filter((level) => level !== null).map((level) => fixed(Number(level), decimals));
  for (const pane of paint.panes) texts.push(...pane.ticks.map(pane.text));
  setFont(paint, 11, 600);
  const widest = Math.max(0, ...texts.map((text) => widthOf(paint.ctx, text)));
  const wanted = Math.ceil((widest / paint.dpr + 16) / 8) * 8;
  // Hysteresis: an axis that breathes with every digit would shake the whole chart.
  if (wanted <= chart.axisWidth && wanted >= chart.axisWidth - 16) return false;
  chart.axisWidth = wanted;
  return true;
}
