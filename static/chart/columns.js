/**
 * Candles and indicators as columns, addressed by absolute index: row `i` is the i-th candle of the
 * whole history, wherever the rows that are here begin. Older rows are written below `first`, newer
 * ones from `closed` on; the forming candle, if any, stands at `closed`.
 *
 * On the time axis candle i stands in slot `slot[i]`. Missing candles leave slots free, at most
 * MAX_GAP_SLOTS for one gap, so that a long outage does not push the rest away. Slots of rows that
 * are here never change while others are added on either side.
 */

export const MAX_GAP_SLOTS = 12;
export const CANDLE = ["openMs", "open", "high", "low", "close", "volume"];
const FIRST_CAPACITY = 8192;
// Below 2 ** LEAF_BITS rows a scan is as quick as a level more.
const LEAF_BITS = 3;
const LEAF = 1 << LEAF_BITS;
const LONGEST_SCAN = 2048;

/**
 * @typedef {{[name: string]: Float64Array}} Columns
 */

/**
 * The least (sign 1) or greatest (sign -1) value of any stretch of a column, in O(log n): a pyramid
 * whose levels hold the extreme of 8, 16, 32, ... rows. NaN counts for nothing. It is built when a
 * stretch is first too long to be scanned. A node is read only where all its rows are here, so what
 * lies beyond them need not be set.
 */
export class Extremes {
  /**
   * @param {Float64Array} column
   * @param {1 | -1} sign
   * @param {number} from  the rows that are here
   * @param {number} to
   */
  constructor(column, sign, from, to) {
    this.column = column;
    this.sign = sign;
    this.from = from;
    this.to = to;
    /** @type {Float64Array[]} */
    this.levels = [];
  }

  #build() {
    for (let size = this.column.length >> LEAF_BITS; size > 0; size >>= 1) {
      this.levels.push(new Float64Array(size));
    }
    this.touch(this.from, this.to);
  }

  /**
   * Take note that rows `from` up to `to` have changed.
   * @param {number} from
   * @param {number} to
   */
  touch(from, to) {
    this.from = Math.min(this.from, from);
    this.to = Math.max(this.to, to);
    const { column, levels, sign } = this;
    let first = from >> LEAF_BITS;
    let end = ((to - 1) >> LEAF_BITS) + 1;
    for (let depth = 0; depth < levels.length; depth += 1) {
      const level = levels[depth];
      const below = depth === 0 ? column : levels[depth - 1];
      const width = depth === 0 ? LEAF : 2;
      end = Math.min(end, level.length);
      for (let k = first; k < end; k += 1) {
        let best = Infinity;
        for (let j = k * width; j < (k + 1) * width; j += 1) {
          const value = below[j] * sign;
          if (value < best) best = value;
        }
        level[k] = best * sign;
      }
      first >>= 1;
      end = ((end - 1) >> 1) + 1;
    }
  }

  /**
   * The extreme of rows `from` up to `to`; +-Infinity where there is no value.
   * @param {number} from
   * @param {number} to
   */
  over(from, to) {
    const { column, levels, sign } = this;
    let best = Infinity;
    let value = 0;
    if (levels.length === 0) {
      if (to - from > LONGEST_SCAN) this.#build();
      else {
        for (; from < to; from += 1) if ((value = column[from] * sign) < best) best = value;
        return best * sign;
      }
    }
    for (; from < to && from & (LEAF - 1); from += 1) {
      if ((value = column[from] * sign) < best) best = value;
    }
    for (; from < to && to & (LEAF - 1); to -= 1) {
      if ((value = column[to - 1] * sign) < best) best = value;
    }
    from >>= LEAF_BITS;
    to >>= LEAF_BITS;
    for (let depth = 0; from < to; depth += 1) {
      const level = levels[depth];
      if (from & 1 && (value = level[from++] * sign) < best) best = value;
      if (to & 1 && (value = level[--to] * sign) < best) best = value;
      from >>= 1;
      to >>= 1;
    }
    return best * sign;
  }
}

export class Series {
  /** @param {{interval?: string, intervalMs?: number, names?: string[]}} [options] */
  constructor({ interval = "1m", intervalMs = 60_000, names = [] } = {}) {
    this.interval = interval;
    this.intervalMs = intervalMs;
    /** Indicator columns, in the order in which rows bring them; the MACD's line with its signal. */
    this.names = names;
    /** @type {Columns} */
    this.columns = {};
    /** Index of the first row that is here. */
    this.first = 0;
    /** Index after the newest closed candle. */
    this.closed = 0;
    this.hasForming = false;
    /** Where scripts and indicators begin to see. */
    this.seen = 0;
    /** Indices of the candles before which some are missing, ascending. @type {number[]} */
    this.gaps = [];
    /** @type {Map<string, Extremes>} */
    this.extremes = new Map();
    this.#allocate(FIRST_CAPACITY);
  }

  // The named columns, for code that reads single candles.
  get openMs() { return this.columns.openMs; }
  get open() { return this.columns.open; }
  get high() { return this.columns.high; }
  get low() { return this.columns.low; }
  get close() { return this.columns.close; }
  get volume() { return this.columns.volume; }
  get slot() { return this.columns.slot; }

  /** Index after the last row. */
  get end() { return this.closed + (this.hasForming ? 1 : 0); }
  get last() { return this.end - 1; }
  get count() { return this.end - this.first; }
  get firstSlot() { return this.count === 0 ? 0 : this.slot[this.first]; }
  get lastSlot() { return this.count === 0 ? 0 : this.slot[this.last]; }

  /**
   * Put rows beside those that are here, or the first ones; older rows must end where these begin.
   * @param {number} first  absolute index of the first of them
   * @param {Columns} columns
   */
  put(first, columns) {
    const count = columns.openMs.length;
    if (count === 0) return;
    const isOlder = this.count > 0 && first < this.first;
    if (isOlder ? first + count !== this.first : this.count > 0 && first !== this.closed) {
      throw new RangeError("rows must touch those that are here");
    }
    if (this.count === 0) this.first = this.closed = first;
    this.#reserve(first + count + 1);
    for (const name of [...CANDLE, ...this.names]) {
      if (columns[name]) this.columns[name].set(columns[name], first);
      else this.columns[name].fill(NaN, first, first + count);
    }
    if (isOlder) {
      this.first = first;
      this.#slotsBelow(first + count);
    } else {
      this.closed = first + count;
      this.hasForming = false;
      this.#slotsFrom(first);
    }
    this.#touch(first, first + count);
  }

  /**
   * Append candles that closed and set the forming one.
   * @param {number[][]} rows  open time (ms), open, high, low, close, volume, then the indicators
   * @param {number[] | null} forming
   */
  append(rows, forming) {
    const from = this.closed;
    this.#reserve(from + rows.length + 1);
    rows.forEach((row, k) => this.#write(from + k, row));
    this.closed += rows.length;
    this.hasForming = forming !== null && (this.closed === this.first || forming[0] > this.openMs[this.closed - 1]);
    if (forming !== null && this.hasForming) this.#write(this.closed, forming);
    if (this.end === from) {
      this.gaps = this.gaps.filter((index) => index < from);
      return;
    }
    this.#slotsFrom(from);
    this.#touch(from, this.end);
  }

  /**
   * How many candles are missing between candle i - 1 and candle i.
   * @param {number} i
   */
  missingBefore(i) {
    if (i <= this.first) return 0;
    const { openMs } = this;
    if (this.interval === "1M") return monthOf(openMs[i]) - monthOf(openMs[i - 1]) - 1;
    return Math.max(0, Math.round((openMs[i] - openMs[i - 1]) / this.intervalMs) - 1);
  }

  /**
   * Index of the first candle at or after `slot`; `end` where there is none.
   * @param {number} slot
   */
  firstFrom(slot) {
    return lowerBound(this.slot, this.first, this.end, slot);
  }

  /**
   * The candle nearest to `slot`, or -1 where there is no candle at all.
   * @param {number} slot
   */
  nearest(slot) {
    if (this.count === 0) return -1;
    const after = Math.min(this.firstFrom(slot), this.last);
    if (after === this.first) return after;
    return this.slot[after] - slot < slot - this.slot[after - 1] ? after : after - 1;
  }

  /**
   * Index of the candle that contains the time, or -1 where it is before the first one here.
   * @param {number} ms
   */
  indexOfTime(ms) {
    const index = lowerBound(this.openMs, this.first, this.end, ms + 1) - 1;
    return index < this.first ? -1 : index;
  }

  /**
   * Slot of the first candle that opens at or after the time; extrapolated after the last one.
   * @param {number} ms
   */
  slotOfTime(ms) {
    const i = lowerBound(this.openMs, this.first, this.end, ms);
    if (i < this.end) return this.slot[i];
    if (this.count === 0) return 0;
    return this.lastSlot + Math.ceil((ms - this.openMs[this.last]) / this.intervalMs);
  }

  /**
   * Slot of an absolute index; extrapolated where that candle is not here.
   * @param {number} i
   */
  slotOf(i) {
    if (i < this.first) return this.firstSlot - (this.first - i);
    return i < this.end ? this.slot[i] : this.lastSlot + (i - this.last);
  }

  /**
   * Open time that a slot stands for; slots outside the candles are extrapolated.
   * @param {number} slot
   */
  timeOfSlot(slot) {
    if (this.count === 0) return 0;
    const i = Math.min(this.last, this.firstFrom(slot));
    return this.openMs[i] + (Math.round(slot) - this.slot[i]) * this.intervalMs;
  }

  /** When the forming candle closes (ms UTC). */
  get formingCloseMs() {
    const openMs = this.openMs[this.last];
    if (this.interval !== "1M") return openMs + this.intervalMs;
    const date = new Date(openMs);
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
  }

  /**
   * Least values of a column's stretches.
   * @param {string} name
   */
  least(name) {
    return this.#pyramid(name, 1);
  }

  /**
   * Greatest values of a column's stretches.
   * @param {string} name
   */
  most(name) {
    return this.#pyramid(name, -1);
  }

  /**
   * @param {string} name
   * @param {1 | -1} sign
   */
  #pyramid(name, sign) {
    const key = name + sign;
    let pyramid = this.extremes.get(key);
    if (pyramid === undefined) {
      pyramid = new Extremes(this.columns[name], sign, this.first, this.end);
      this.extremes.set(key, pyramid);
    }
    return pyramid;
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  #touch(from, to) {
    const { macd, macdSignal, macdHistogram } = this.columns;
    if (macdHistogram) {
      for (let i = from; i < to; i += 1) macdHistogram[i] = macd[i] - macdSignal[i];
    }
    for (const pyramid of this.extremes.values()) pyramid.touch(from, to);
  }

  /**
   * @param {number} i
   * @param {number[]} row
   */
  #write(i, row) {
    let k = 0;
    for (const name of CANDLE) this.columns[name][i] = row[k++];
    // null says that an indicator has no value yet.
    for (const name of this.names) this.columns[name][i] = row[k++] ?? NaN;
  }

  /** @param {number} from  the first row whose slot is not known */
  #slotsFrom(from) {
    const { slot, gaps, openMs, intervalMs, end } = this;
    while (gaps.length > 0 && gaps[gaps.length - 1] >= from) gaps.pop();
    for (let i = from; i < end; i += 1) {
      // Most candles follow their neighbour: they are not worth a question.
      const isNext = openMs[i] - openMs[i - 1] === intervalMs;
      const missing = isNext ? 0 : this.missingBefore(i);
      if (missing > 0) gaps.push(i);
      slot[i] = i === this.first ? i : slot[i - 1] + 1 + Math.min(MAX_GAP_SLOTS, missing);
    }
  }

  /** @param {number} end  the first row whose slot is known */
  #slotsBelow(end) {
    const { slot } = this;
    const found = [];
    for (let i = end - 1; i >= this.first; i -= 1) {
      const missing = this.missingBefore(i + 1);
      if (missing > 0) found.push(i + 1);
      slot[i] = slot[i + 1] - 1 - Math.min(MAX_GAP_SLOTS, missing);
    }
    this.gaps = [...found.reverse(), ...this.gaps];
  }

  /** @param {number} rows */
  #reserve(rows) {
    if (rows > this.openMs.length) this.#allocate(Math.ceil(rows * 1.25));
    else if (this.names.some((name) => this.columns[name] === undefined)) {
      this.#allocate(this.openMs.length);
    }
  }

  /**
   * Memory below `first` is never touched, so that it costs address space alone.
   * @param {number} capacity
   */
  #allocate(capacity) {
    const before = this.columns;
    this.columns = {};
    // Of the MACD's three parts the server sends two: the third is their difference.
    const derived = this.names.includes("macdSignal") ? ["macdHistogram"] : [];
    for (const name of [...CANDLE, "slot", ...this.names, ...derived]) {
      const column = new Float64Array(capacity);
      if (before[name]) column.set(before[name].subarray(this.first, this.end), this.first);
      this.columns[name] = column;
    }
    this.extremes.clear();
  }
}

/** @param {number} ms */
function monthOf(ms) {
  const date = new Date(ms);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/**
 * First index from `low` up to `high` of the ascending column whose value is at least `wanted`.
 * @param {Float64Array} column
 * @param {number} low
 * @param {number} high
 * @param {number} wanted
 */
export function lowerBound(column, low, high, wanted) {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (column[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
