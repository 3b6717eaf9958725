/**
 * Numbers and times as text. Times are ms, read as UTC; nothing here depends on the browser's locale
 * or zone.
 */

const MINUS = "\u2212";
/** How dates are written; `d`, `m` and `y` stand for day, month and year. Another language sets it. */
export const dates = {
  months: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
  day: "d m",
  full: "d m y",
};
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// Not Intl: its first use costs more than the whole first picture.
/** @type {[number, string][]} */
const UNITS = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]];

/** @param {string} text */
const withMinus = (text) => text.replace("-", MINUS);
/** @param {number} value */
const two = (value) => String(value).padStart(2, "0");

/**
 * A number with exactly `decimals` digits after the point and thousands separators.
 * @param {number} value
 * @param {number} decimals
 */
export function fixed(value, decimals) {
  const text = rounded(value, decimals).toFixed(decimals);
  const whole = decimals === 0 ? text.length : text.length - decimals - 1;
  // Four digits before the point, and above 1e21 a power of ten.
  if (whole < 4 || text.includes("e")) return withMinus(text);
  return withMinus(text.slice(0, whole).replace(/\B(?=(\d{3})+$)/g, ",") + text.slice(whole));
}

/**
 * The value, moved a little from zero where its digits end in a 5 that has to go: 1.005 is stored a
 * trifle lower than it reads, and shall become 1.01.
 * @param {number} value
 * @param {number} decimals
 */
function rounded(value, decimals) {
  const digits = String(value);
  const point = digits.indexOf(".");
  const isHalf = point >= 0 && digits.length - point - 2 === decimals && digits.endsWith("5");
  return isHalf ? value + Math.sign(value) * 10 ** (-decimals - 2) : value;
}

/**
 * A price with at least the digits of the tick, and more where the recorded price is finer.
 * @param {number} value
 * @param {number} decimals
 */
export function price(value, decimals) {
  const text = fixed(value, decimals);
  const isCoarse = Math.abs(value) < 1e9 && Number(value.toFixed(decimals)) !== value;
  return isCoarse ? withMinus(significant(value, decimals)) : text;
}

/**
 * @param {number} value
 * @param {number} decimals
 */
function significant(value, decimals) {
  const digits = Math.min(12, decimals + 4);
  return Number(value.toFixed(digits)).toLocaleString("en-US", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: digits,
  });
}

/**
 * A decimal string of the server with thousands separators; its digits are never touched.
 * @param {string} text
 */
export function decimal(text) {
  const match = /^(-?)(\d+)(\.\d+)?$/.exec(text);
  if (match === null) return text;
  const whole = match[2].replace(/\B(?=(\d{3})+$)/g, ",");
  return (match[1] ? MINUS : "") + whole + (match[3] ?? "");
}

/**
 * A decimal string of money, rounded half up to cents for display, with its sign if asked.
 * @param {string} text
 * @param {boolean} [isSigned]
 */
export function money(text, isSigned = false) {
  const value = Number(text);
  if (!Number.isFinite(value)) return text;
  const shown = fixed(value, 2);
  const isZero = /^[\u2212]?0\.00$/.test(shown);
  if (isZero) return "0.00";
  return isSigned && value > 0 ? `+${shown}` : shown;
}

/** @param {number} value a fraction, 0.01 is 1 % */
export function percent(value) {
  const shown = fixed(value * 100, 2);
  return `${value > 0 ? "+" : ""}${shown} %`;
}

/** @param {number} value */
export function compact(value) {
  // What would be rounded up to 1000 of a unit is 1 of the next.
  const unit = UNITS.find(([size]) => Math.abs(value) >= size * 0.99995);
  if (unit === undefined) return withMinus(String(Number(value.toPrecision(4))));
  return withMinus(Number((value / unit[0]).toPrecision(4)) + unit[1]);
}

/** @param {number} ms */
export function timeOfDay(ms) {
  const date = new Date(ms);
  return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
}

/** @param {number} ms */
export function secondOfDay(ms) {
  return `${timeOfDay(ms)}:${two(new Date(ms).getUTCSeconds())}`;
}

/** @param {number} ms */
export function monthName(ms) {
  return dates.months[new Date(ms).getUTCMonth()];
}

/** @param {number} ms */
export function dayAndMonth(ms) {
  return dated(dates.day, ms, String(new Date(ms).getUTCDate()));
}

/**
 * @param {string} pattern
 * @param {number} ms
 * @param {string} day
 */
function dated(pattern, ms, day) {
  const parts = { d: day, m: monthName(ms), y: new Date(ms).getUTCFullYear() };
  return pattern.replace(/[dmy]/g, (part) => String(parts[/** @type {"d" | "m" | "y"} */ (part)]));
}

/**
 * A candle's open time; the time of day only where the interval is shorter than a day.
 * @param {number} ms
 * @param {number} intervalMs
 */
export function openTime(ms, intervalMs) {
  const day = dated(dates.full, ms, two(new Date(ms).getUTCDate()));
  return intervalMs < DAY ? `${day} ${timeOfDay(ms)}` : day;
}

/**
 * Time left as `m:ss`, `h:mm:ss` or `2d 03:04:05`.
 * @param {number} ms
 */
export function countdown(ms) {
  const left = Math.max(0, ms);
  const days = Math.floor(left / DAY);
  const hours = Math.floor((left % DAY) / HOUR);
  const minutes = Math.floor((left % HOUR) / MINUTE);
  const seconds = Math.floor((left % MINUTE) / SECOND);
  if (days > 0) return `${days}d ${two(hours)}:${two(minutes)}:${two(seconds)}`;
  if (hours > 0) return `${hours}:${two(minutes)}:${two(seconds)}`;
  return `${minutes}:${two(seconds)}`;
}

/** @param {number} ms */
export function age(ms) {
  if (ms < 10 * SECOND) return `${(Math.max(0, ms) / SECOND).toFixed(1)} s`;
  if (ms < 2 * MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < 2 * HOUR) return `${Math.floor(ms / MINUTE)} min`;
  return `${Math.floor(ms / HOUR)} h`;
}
