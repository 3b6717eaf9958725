/**
 * The crosshair on its own canvas. Loaded when something is pointed at.
 */

import { openTime } from "../lib/format.js";
import { alignText, drawTag, lineWidth, setFont, widthOf } from "./draw.js";
import { zoneOffset } from "./scale.js";

/** @typedef {import("./draw.js").Paint} Paint */

/**
 * Lines through all panes, the value at the pointer's height, and the candle's time.
 * @param {Paint} paint
 * @param {number} slot
 * @param {number | null} y  device pixels
 */
export function drawCrosshair(paint, slot, y) {
  const { ctx, theme, dpr, bottom, series, zone } = paint;
  const middle = paint.xOf(slot);
  const ms = series.timeOfSlot(slot);
  const time = openTime(ms + zoneOffset(ms, zone), series.intervalMs);
  const width = lineWidth(dpr);
  ctx.strokeStyle = theme.crosshair;
  ctx.lineWidth = width;
  ctx.setLineDash([4 * dpr, 4 * dpr]);
  ctx.beginPath();
  const x = Math.round(middle) + (width % 2) / 2;
  ctx.moveTo(x, 0);
  ctx.lineTo(x, bottom);
  if (y !== null) {
    const at = Math.round(y) + (width % 2) / 2;
    ctx.moveTo(0, at);
    ctx.lineTo(paint.right, at);
  }
  ctx.stroke();
  ctx.setLineDash([]);
  const pane = y === null ? undefined : paint.panes.find((one) => y >= one.top && y < one.bottom);
  if (y !== null && pane !== undefined) {
    const text = pane.text(pane.scale.priceOf(y));
    const tag = { y, text, fill: theme.crosshairTag, ink: theme.crosshairInk, height: 18 * dpr };
    drawTag({ ...paint, pane }, tag, Math.round(y - 9 * dpr));
  }
  setFont(paint, 11, 600);
  const room = widthOf(ctx, time) + 14 * dpr;
  const left = Math.round(Math.min(Math.max(0, middle - room / 2), paint.right - room));
  ctx.fillStyle = theme.crosshairTag;
  ctx.fillRect(left, bottom, Math.round(room), 22 * dpr);
  ctx.fillStyle = theme.crosshairInk;
  alignText(ctx, "left", "middle");
  ctx.fillText(time, left + 7 * dpr, bottom + 12 * dpr);
}

