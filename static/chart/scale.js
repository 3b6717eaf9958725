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

/**
 * A linear or logarithmic scale between a range of prices and a range of pixels (top is the high
 * price). A logarithmic one needs a low price above 0.
 */
export class PriceScale {
  /**
   * @param {number} low
   * @param {number} high
   * @param {number} top
   * @param {number} bottom
   * @param {boolean} [isLog]
   */
  constructor(low, high, top, bottom, isLog = false) {
    this.low = low;
    this.high = high;
    this.top = top;
    this.bottom = bottom;
    this.isLog = isLog;
    this.start = isLog ? Math.log(high) : high;
    this.perPrice = (bottom - top) / (this.start - (isLog ? Math.log(low) : low));
  }

  /** @param {number} price */
  yOf(price) {
    return this.top + (this.start - (this.isLog ? Math.log(price) : price)) * this.perPrice;
  }

  /** @param {number} y */
  priceOf(y) {
    const value = this.start - (y - this.top) / this.perPrice;
    return this.isLog ? Math.exp(value) : value;
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
  const { low, high, isLog } = scale;
  // Within a factor of two a logarithm bends so little that even steps do.
  if (isLog && high > 2 * low) return decadeTicks(scale, minGap);
  const most = (scale.bottom - scale.top) / minGap;
  const step = priceStep(high - low, most, tick);
  const ticks = [];
  const end = Math.floor(high / step + 1e-9);
  for (let k = Math.ceil(low / step - 1e-9); k <= end; k += 1) ticks.push(k * step);
  return ticks;
}

/**
 * @param {PriceScale} scale
 * @param {number} minGap
 */
function decadeTicks(scale, minGap) {
  const ticks = [];
  let previous = Infinity;
  for (let power = Math.floor(Math.log10(scale.low)); 10 ** power <= scale.high; power += 1) {
    for (const factor of [1, 1.5, 2, 3, 5, 7]) {
      const value = factor * 10 ** power;
      const y = scale.yOf(value);
      if (value < scale.low || value > scale.high || previous - y < minGap) continue;
      ticks.push(value);
      previous = y;
    }
  }
  return ticks;
}

/**
 * Minutes of wall time that a zone is ahead of UTC change at most once in a quarter of an hour.
 * @type {Map<string, {format: Intl.DateTimeFormat, known: Map<number, number>}>}
 */
const zones = new Map();
const OFFSET_CELL = 15 * MINUTE;

/**
 * How far the wall clocks of a zone are ahead of UTC at a time (ms).
 * @param {number} ms
 * @param {string} zone  an IANA name
 */
export function zoneOffset(ms, zone) {
  if (zone === "UTC") return 0;
  let entry = zones.get(zone);
  if (entry === undefined) {
    const format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric",
      hour: "numeric", minute: "numeric", second: "numeric",
    });
    entry = { format, known: new Map() };
    zones.set(zone, entry);
  }
  const cell = Math.floor(ms / OFFSET_CELL);
  let offset = entry.known.get(cell);
  if (offset === undefined) {
    if (entry.known.size > 5000) entry.known.clear();
    const at = cell * OFFSET_CELL;
    /** @type {Record<string, number>} */
    const part = {};
    for (const { type, value } of entry.format.formatToParts(at)) part[type] = Number(value);
    offset = Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) - at;
    entry.known.set(cell, offset);
  }
  return offset;
}

/**
 * The time at which a zone's clocks show `wall` (ms, read as if it were UTC). Where they skip it,
 * a time after the skip; where they show it twice, one of the two.
 * @param {number} wall
 * @param {string} zone
 */
export function timeOfWall(wall, zone) {
  const near = wall - zoneOffset(wall, zone);
  return wall - zoneOffset(near, zone);
}

/**
 * Labelled slots of the time axis, each at the first candle at or after a round wall time.
 * @param {{count: number, intervalMs: number, timeOfSlot: (slot: number) => number,
 *   slotOfTime: (ms: number) => number}} series
 * @param {number} fromSlot
 * @param {number} toSlot
 * @param {number} slotsApart least slots between two labels
 * @param {string} [zone]
 * @returns {{slot: number, label: string, isMajor: boolean}[]}
 */
export function timeTicks(series, fromSlot, toSlot, slotsApart, zone = "UTC") {
  if (series.count === 0) return [];
  const startMs = series.timeOfSlot(Math.ceil(fromSlot));
  const endMs = series.timeOfSlot(Math.floor(toSlot));
  const least = slotsApart * series.intervalMs;
  const ticks = [];
  let previous = -Infinity;
  const startWall = startMs + zoneOffset(startMs, zone);
  const endWall = endMs + zoneOffset(endMs, zone);
  for (const wall of roundTimes(startWall, endWall, least)) {
    const ms = timeOfWall(wall, zone);
    const slot = series.slotOfTime(ms);
    if (slot < fromSlot || slot > toSlot || slot - previous < slotsApart * 0.7) continue;
    if (series.timeOfSlot(slot) - ms >= series.intervalMs) continue; // the round time is in a gap
    ticks.push({ slot, ...timeLabel(wall) });
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
