/**
 * Candles as columns, on an index axis: candle i stands in slot slotAt(i). Missing candles leave
 * slots free, at most MAX_GAP_SLOTS for one gap, so that a long outage does not push the rest away.
 * The forming candle, if any, is the last one.
 */

export const MAX_GAP_SLOTS = 12;
const FIRST_CAPACITY = 8192;
const COLUMNS = /** @type {const} */ (["openMs", "open", "high", "low", "close", "volume", "slot"]);

/**
 * @typedef {{time: string, open: number, high: number, low: number, close: number,
 *   volume: number}} Row
 * @typedef {{interval: string, intervalMs: number, limit: number}} SeriesMeta
 */

export class Series {
  constructor() {
    this.interval = "1m";
    this.intervalMs = 60_000;
    this.capacity = FIRST_CAPACITY;
    this.openMs = new Float64Array(FIRST_CAPACITY);
    this.open = new Float64Array(FIRST_CAPACITY);
    this.high = new Float64Array(FIRST_CAPACITY);
    this.low = new Float64Array(FIRST_CAPACITY);
    this.close = new Float64Array(FIRST_CAPACITY);
    this.volume = new Float64Array(FIRST_CAPACITY);
    this.slot = new Float64Array(FIRST_CAPACITY);
    /** How many candles are closed. */
    this.closed = 0;
    this.hasForming = false;
  }

  clear() {
    this.closed = 0;
    this.hasForming = false;
  }

  get count() {
    return this.closed + (this.hasForming ? 1 : 0);
  }

  get last() {
    return this.count - 1;
  }

  get firstSlot() {
    return this.count === 0 ? 0 : this.slot[0];
  }

  get lastSlot() {
    return this.count === 0 ? 0 : this.slot[this.last];
  }

  /**
   * Take an answer's candles: all of them, or those after the ones already here.
   * @param {{historical: Row[], liveCandle: Row | null, increment: boolean}} answer
   * @param {SeriesMeta} meta
   */
  apply(answer, meta) {
    if (!answer.increment) {
      this.clear();
      this.interval = meta.interval;
      this.intervalMs = meta.intervalMs;
    }
    this.hasForming = false;
    for (const row of answer.historical) {
      this.#write(this.closed, row);
      this.closed += 1;
    }
    // Trimming moves every column: do it seldom.
    if (this.closed > meta.limit * 1.25) this.#trim(this.closed - meta.limit);
    const live = answer.liveCandle;
    if (live !== null && (this.closed === 0 || Date.parse(live.time) > this.openMs[this.closed - 1])) {
      this.#write(this.closed, live);
      this.hasForming = true;
    }
  }

  /**
   * @param {number} i
   * @param {Row} row
   */
  #write(i, row) {
    if (i >= this.capacity) this.#grow(this.capacity * 2);
    const openMs = Date.parse(row.time);
    this.openMs[i] = openMs;
    this.open[i] = row.open;
    this.high[i] = row.high;
    this.low[i] = row.low;
    this.close[i] = row.close;
    this.volume[i] = row.volume;
    this.slot[i] = i === 0 ? 0 : this.slot[i - 1] + 1 + Math.min(MAX_GAP_SLOTS, this.missingBefore(i));
  }

  /**
   * How many candles are missing between candle i - 1 and candle i.
   * @param {number} i
   */
  missingBefore(i) {
    if (i === 0) return 0;
    if (this.interval === "1M") return monthOf(this.openMs[i]) - monthOf(this.openMs[i - 1]) - 1;
    return Math.max(0, Math.round((this.openMs[i] - this.openMs[i - 1]) / this.intervalMs) - 1);
  }

  /**
   * Index of the first candle at or after `slot`; `count` where there is none.
   * @param {number} slot
   */
  firstFrom(slot) {
    return lowerBound(this.slot, this.count, slot);
  }

  /**
   * The candle nearest to `slot`, or -1 where there is no candle at all.
   * @param {number} slot
   */
  nearest(slot) {
    if (this.count === 0) return -1;
    const after = Math.min(this.firstFrom(slot), this.last);
    if (after === 0) return 0;
    return this.slot[after] - slot < slot - this.slot[after - 1] ? after : after - 1;
  }

  /**
   * Index of the candle that contains the time, or -1 where it is before the first one.
   * @param {number} ms
   */
  indexOfTime(ms) {
    return lowerBound(this.openMs, this.count, ms + 1) - 1;
  }

  /**
   * Slot of the first candle that opens at or after the time; extrapolated after the last one.
   * @param {number} ms
   */
  slotOfTime(ms) {
    const i = lowerBound(this.openMs, this.count, ms);
    if (i < this.count) return this.slot[i];
    if (this.count === 0) return 0;
    return this.lastSlot + Math.ceil((ms - this.openMs[this.last]) / this.intervalMs);
  }

  /**
   * Open time that a slot stands for; slots outside the candles are extrapolated.
   * @param {number} slot
   */
  timeOfSlot(slot) {
    if (this.count === 0) return 0;
    const i = Math.min(this.last, Math.max(0, this.firstFrom(slot)));
    return this.openMs[i] + (Math.round(slot) - this.slot[i]) * this.intervalMs;
  }

  /** When the forming candle closes (ms UTC). */
  get formingCloseMs() {
    const openMs = this.openMs[this.last];
    if (this.interval !== "1M") return openMs + this.intervalMs;
    const date = new Date(openMs);
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
  }

  /** @param {number} capacity */
  #grow(capacity) {
    for (const name of COLUMNS) {
      const column = new Float64Array(capacity);
      column.set(this[name]);
      this[name] = column;
    }
    this.capacity = capacity;
  }

  /** @param {number} surplus how many of the oldest candles go */
  #trim(surplus) {
    const firstSlot = this.slot[surplus];
    for (const name of COLUMNS) this[name].copyWithin(0, surplus, this.closed);
    this.closed -= surplus;
    for (let i = 0; i < this.closed; i += 1) this.slot[i] -= firstSlot;
  }
}

/** @param {number} ms */
function monthOf(ms) {
  const date = new Date(ms);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/**
 * First index in the ascending column whose value is at least `wanted`.
 * @param {Float64Array} column
 * @param {number} count
 * @param {number} wanted
 */
export function lowerBound(column, count, wanted) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (column[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The same for items that carry their slot.
 * @param {{slot: number}[]} items
 * @param {number} wanted
 */
export function firstItemFrom(items, wanted) {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (items[middle].slot < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Overlay points with the slot of their time, ready to draw.
 * @template {{time: string}} T
 * @param {Series} series
 * @param {T[]} points
 * @returns {(T & {slot: number, index: number})[]}
 */
export function placed(series, points) {
  return points
    .map((point) => {
      const ms = Date.parse(point.time);
      const index = series.indexOfTime(ms);
      return { ...point, index, slot: index < 0 ? -1 : series.slot[index] };
    })
    .filter((point) => point.index >= 0);
}

/**
 * Divergences with the slots of both their ends.
 * @param {Series} series
 * @param {any[]} divergences
 */
export function placedPairs(series, divergences) {
  const pairs = [];
  for (const item of divergences) {
    const start = series.indexOfTime(Date.parse(item.startTime));
    const end = series.indexOfTime(Date.parse(item.endTime));
    if (start < 0 || end < 0) continue;
    pairs.push({ ...item, startSlot: series.slot[start], endSlot: series.slot[end] });
  }
  return pairs;
}

