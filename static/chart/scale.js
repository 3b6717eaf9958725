/**
 * Where a price and a time stand: the price scale, and the ticks of both axes.
 */

import { dayAndMonth, monthName, timeOfDay } from "../lib/format.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
// 5 January 1970 was a Monday: weeks begin there.
const FIRST_MONDAY = 4 * DAY;
const TIME_STEPS = [
  MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE,
  HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY,
];
const MONTH_STEPS = [1, 3, 6, 12, 24, 60, 120];

/** A linear scale between a range of prices and a range of pixels (top is the high price). */
export class PriceScale {
  /**
   * @param {number} low
   * @param {number} high
   * @param {number} top
   * @param {number} bottom
   */
  constructor(low, high, top, bottom) {
    this.low = low;
    this.high = high;
    this.top = top;
    this.bottom = bottom;
    this.perPrice = (bottom - top) / (high - low);
  }

  /** @param {number} price */
  yOf(price) {
    return this.top + (this.high - price) * this.perPrice;
  }

  /** @param {number} y */
  priceOf(y) {
    return this.high - (y - this.top) / this.perPrice;
  }
}

/**
 * The smallest round step (1, 2, 2.5 or 5 times a power of ten) that gives at most `most` ticks
 * over `span`, never finer than the instrument's tick and always a multiple of it.
 * @param {number} span
 * @param {number} most
 * @param {number} tick
 */
export function priceStep(span, most, tick) {
  const least = Math.max(span / Math.max(1, most), tick);
  for (let power = Math.floor(Math.log10(least)); ; power += 1) {
    for (const factor of [1, 2, 2.5, 5]) {
      const step = factor * 10 ** power;
      if (step >= least * (1 - 1e-9) && isMultiple(step, tick)) return step;
    }
  }
}

/**
 * @param {number} step
 * @param {number} tick
 */
function isMultiple(step, tick) {
  const ratio = step / tick;
  // A tick of 0.3 has no round multiple of its own: far above it, roundness matters more.
  return ratio > 1000 || Math.abs(ratio - Math.round(ratio)) < 1e-6;
}

/**
 * Round prices inside the scale's range, lowest first.
 * @param {PriceScale} scale
 * @param {number} minGap least pixels between two ticks
 * @param {number} tick
 */
export function priceTicks(scale, minGap, tick) {
  const most = (scale.bottom - scale.top) / minGap;
  const step = priceStep(scale.high - scale.low, most, tick);
  const ticks = [];
  const end = Math.floor(scale.high / step + 1e-9);
  for (let k = Math.ceil(scale.low / step - 1e-9); k <= end; k += 1) ticks.push(k * step);
  return ticks;
}

/**
 * Labelled slots of the time axis (UTC), each at the first candle at or after a round time.
 * @param {import("./data.js").Series} series
 * @param {number} fromSlot
 * @param {number} toSlot
 * @param {number} slotsApart least slots between two labels
 * @returns {{slot: number, label: string, isMajor: boolean}[]}
 */
export function timeTicks(series, fromSlot, toSlot, slotsApart) {
  if (series.count === 0) return [];
  const startMs = series.timeOfSlot(Math.ceil(fromSlot));
  const endMs = series.timeOfSlot(Math.floor(toSlot));
  const least = slotsApart * series.intervalMs;
  const ticks = [];
  let previous = -Infinity;
  for (const ms of roundTimes(startMs, endMs, least)) {
    const slot = series.slotOfTime(ms);
    if (slot < fromSlot || slot > toSlot || slot - previous < slotsApart * 0.7) continue;
    if (series.timeOfSlot(slot) - ms >= series.intervalMs) continue; // the round time is in a gap
    ticks.push({ slot, ...timeLabel(ms) });
    previous = slot;
  }
  return ticks;
}

/**
 * @param {number} startMs
 * @param {number} endMs
 * @param {number} least
 */
function roundTimes(startMs, endMs, least) {
  const step = TIME_STEPS.find((candidate) => candidate >= least);
  if (step === undefined) return roundMonths(startMs, endMs, least / (30 * DAY));
  const origin = step === 7 * DAY ? FIRST_MONDAY : 0;
  const times = [];
  for (
    let ms = Math.ceil((startMs - origin) / step) * step + origin;
    ms <= endMs;
    ms += step
  ) times.push(ms);
  return times;
}

/**
 * @param {number} startMs
 * @param {number} endMs
 * @param {number} leastMonths
 */
function roundMonths(startMs, endMs, leastMonths) {
  const step = MONTH_STEPS.find((candidate) => candidate >= leastMonths) ?? 240;
  const start = new Date(startMs);
  const first = start.getUTCFullYear() * 12 + start.getUTCMonth();
  const times = [];
  for (let month = Math.floor(first / step) * step; ; month += step) {
    const ms = Date.UTC(Math.floor(month / 12), month % 12, 1);
    if (ms > endMs) return times;
    if (ms >= startMs) times.push(ms);
  }
}

/** @param {number} ms */
function timeLabel(ms) {
  if (ms % DAY !== 0) return { label: timeOfDay(ms), isMajor: false };
  const date = new Date(ms);
  if (date.getUTCDate() !== 1) return { label: dayAndMonth(ms), isMajor: true };
  if (date.getUTCMonth() !== 0) return { label: monthName(ms), isMajor: true };
  return { label: String(date.getUTCFullYear()), isMajor: true };
}
