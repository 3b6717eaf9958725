/** The picture and the candles in view as files. */

import { labelOf } from "../chart/plots.js";
import { candleTime, zoneName } from "../lib/zone.js";

/** @typedef {import("../chart/view.js").Chart} Chart */

const HEAD_PX = 30;
const QUOTE = "\"";

/**
 * A name such as `BTCUSDT-1h-20260107T1500Z`: the newest candle in view.
 * @param {Chart} chart
 * @param {any} meta
 */
function nameOf(chart, meta) {
  const time = new Date(chart.series.openMs[chart.visible()[1] - 1]).toISOString().slice(0, 16).replace(/[-:]/g, "");
  // A symbol may hold letters that a file's name must not.
  return `${meta.symbol}-${meta.interval}-${time}Z`.replace(/[^\p{L}\p{N}.-]+/gu, "_");
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser reads it after this turn.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return name;
}

/**
 * The chart as it stands, with a line above it that says what it is.
 * @param {Chart} chart
 * @param {any} meta
 * @returns {Promise<string>} the file's name
 */
export async function savePicture(chart, meta) {
  const { canvas, dpr, theme } = chart;
  chart.drawNow();
  const picture = document.createElement("canvas");
  const head = Math.round(HEAD_PX * dpr);
  picture.width = canvas.width;
  picture.height = canvas.height + head;
  const ctx = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
  ctx.fillStyle = theme.surface;
  ctx.fillRect(0, 0, picture.width, picture.height);
  ctx.drawImage(canvas, 0, head);
  const time = `${candleTime(chart, chart.visible()[1] - 1)} ${zoneName(chart.shownZone)}`;
  ctx.font = `600 ${Math.round(13 * dpr)}px ${theme.font}`;
  ctx.textBaseline = "middle";
  ctx.fillStyle = theme.text;
  const room = picture.width - 16 * dpr;
  ctx.fillText(`${meta.symbol} ${meta.interval} · ${meta.title} · ${time} · Milo`, 8 * dpr, head / 2, room);
  /** @type {Blob | null} */
  const blob = await new Promise((resolve) => { picture.toBlob(resolve, "image/png"); });
  if (blob === null) throw new Error("this browser cannot save the picture");
  return save(blob, `${nameOf(chart, meta)}.png`);
}

/**
 * The rows in view with all their columns, every digit kept; times are UTC.
 * @param {Chart} chart
 */
export function csvOf(chart) {
  const { series } = chart;
  const [from, to] = chart.visible();
  const columns = ["open", "high", "low", "close", "volume", ...series.names];
  const titles = columns.map((name) => csvText(series.names.includes(name) ? labelOf(name) : name));
  const lines = [["time", ...titles].join(",")];
  for (let i = from; i < to; i += 1) {
    const values = columns.map((name) => series.columns[name][i]);
    lines.push([
      new Date(series.openMs[i]).toISOString(),
      ...values.map((value) => (Number.isNaN(value) ? "" : decimalText(value))),
    ].join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}

/**
 * @param {Chart} chart
 * @param {any} meta
 * @returns {string} the file's name
 */
export function saveCsv(chart, meta) {
  return save(new Blob([csvOf(chart)], { type: "text/csv" }), `${nameOf(chart, meta)}.csv`);
}

/**
 * A script names its lines: to a table program none of them may be a formula.
 * @param {string} name
 */
function csvText(name) {
  const safe = /^[=+\-@\t]/.test(name) ? `'${name}` : name;
  if (!/[\x22,\r\n]/.test(safe)) return safe;
  return QUOTE + safe.replaceAll(QUOTE, QUOTE + QUOTE) + QUOTE;
}

/**
 * All digits of a number without a power of ten: table programs of some languages read 1e-7 as text.
 * @param {number} value
 */
function decimalText(value) {
  const shown = String(value);
  if (!shown.includes("e")) return shown;
  const [digits, power] = shown.split("e");
  const places = Math.max(0, (digits.split(".")[1] ?? "").length - Number(power));
  return value.toFixed(Math.min(100, places));
}
