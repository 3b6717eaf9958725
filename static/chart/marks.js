/**
 * The open position, entries and exits. Loaded when there are any.
 */

import { decimal, fixed, money, percent } from "../lib/format.js";
import { alignText, apart, horizontal, lineWidth, setFont, widthOf } from "./draw.js";

/** @typedef {import("./draw.js").Paint} Paint */

/**
 * Shade what the position risks and what it aims at, from its entry to the right edge.
 * @param {Paint} paint
 * @param {any} position
 * @param {number} openSlot
 */
export function drawPositionZones(paint, position, openSlot) {
  const { ctx, theme, scale, right } = paint;
  const left = Math.max(0, Math.round(paint.xOf(openSlot)));
  if (left >= right) return;
  const entry = scale.yOf(Number(position.entryPrice));
  const zones = [
    [position.stopPrice, theme.stopZone],
    [position.targetPrice, theme.targetZone],
  ];
  for (const [level, colour] of zones) {
    if (level === null) continue;
    const y = scale.yOf(Number(level));
    ctx.fillStyle = colour;
    ctx.fillRect(left, Math.min(entry, y), right - left, Math.abs(entry - y));
  }
}

/**
 * Lines of the open position with a label in the pane and a price on the axis. A level out of
 * view keeps its label, at the edge.
 * @param {Paint} paint
 * @param {any} position
 */
export function drawPositionLines(paint, position) {
  const { theme, scale, words, pane } = paint;
  const entry = Number(position.entryPrice);
  const side = position.direction === "long" ? words.long : words.short;
  const sign = position.direction === "long" ? "▲" : "▼";
  const distance = (/** @type {string} */ level) => percent(Number(level) / entry - 1);
  /** @type {[string | null, string, string, number[]][]} */
  const levels = [
    [position.targetPrice, words.target, theme.target, [8, 4]],
    [position.entryPrice, `${sign} ${side} ${decimal(position.quantity)}`, theme.entry, []],
    [position.stopPrice, words.stop, theme.stop, [3, 3]],
    [position.liquidationPrice, words.liquidation, theme.liquidation, [1, 4]],
  ];
  const chips = [];
  for (const [level, name, colour, dash] of levels) {
    if (level === null) continue;
    const y = scale.yOf(Number(level));
    const isInView = y >= 0 && y <= pane.bottom;
    if (isInView) horizontal(paint, y, colour, dash);
    const text = fixed(Number(level), paint.decimals);
    paint.tags.push({ y, text, fill: colour, ink: theme.tagInk });
    const isEntry = level === position.entryPrice;
    chips.push({ y, text: isEntry ? name : `${name} ${distance(level)}`, colour });
  }
  drawChips(paint, chips);
}

/**
 * @param {Paint} paint
 * @param {{y: number, text: string, colour: string}[]} chips
 */
function drawChips(paint, chips) {
  const { ctx, dpr, pane, theme } = paint;
  const height = 18 * dpr;
  setFont(paint, 11, 600);
  alignText(ctx, "left", "middle");
  const sorted = [...chips].sort((a, b) => a.y - b.y);
  const tops = apart(
    sorted.map((chip) => Math.min(Math.max(chip.y, 0), pane.bottom) - height / 2),
    sorted.map(() => height + dpr), 2 * dpr, pane.bottom - 2 * dpr,
  );
  sorted.forEach((chip, k) => {
    const top = Math.round(tops[k]);
    const width = widthOf(ctx, chip.text) + 12 * dpr;
    ctx.fillStyle = theme.surface;
    ctx.fillRect(6 * dpr, top, width, height);
    ctx.strokeStyle = chip.colour;
    ctx.lineWidth = lineWidth(dpr);
    const inset = lineWidth(dpr) / 2;
    ctx.strokeRect(6 * dpr + inset, top + inset, width - 2 * inset, height - 2 * inset);
    ctx.fillStyle = theme.text;
    ctx.fillText(chip.text, 12 * dpr, top + height / 2 + dpr / 2);
  });
}

/**
 * Entries point right at their candle, exits point left away from it; a dotted line joins both.
 * @param {Paint} paint
 * @param {any[]} marks placed, oldest first
 */
export function drawMarks(paint, marks) {
  const { ctx, theme, dpr, scale, right } = paint;
  let entry = null;
  for (const mark of marks) {
    const x = paint.xOf(mark.slot);
    const y = scale.yOf(Number(mark.price));
    const colour = mark.side === "BUY" ? theme.up : theme.down;
    if (mark.kind === "entry") {
      entry = { x, y };
    } else if (entry !== null && x > 0 && entry.x < right) {
      ctx.strokeStyle = theme.text;
      ctx.lineWidth = lineWidth(dpr);
      ctx.setLineDash([2 * dpr, 3 * dpr]);
      ctx.beginPath();
      ctx.moveTo(entry.x, entry.y);
      ctx.lineTo(x, y);
      ctx.stroke();
      ctx.setLineDash([]);
    }
    if (x < -12 * dpr || x > right + 12 * dpr) continue;
    arrow(paint, x, y, mark.kind === "entry" ? -1 : 1, colour);
    if (mark.kind === "exit" && paint.spacing > 7 * dpr) labelExit(paint, x, y, mark);
  }
}

/**
 * @param {Paint} paint
 * @param {number} x
 * @param {number} y
 * @param {-1 | 1} side on which side of the price the arrow stands
 * @param {string} colour
 */
function arrow(paint, x, y, side, colour) {
  const { ctx, dpr, theme } = paint;
  const tip = x + side * 2 * dpr;
  ctx.beginPath();
  ctx.moveTo(tip, y);
  ctx.lineTo(tip + side * 9 * dpr, y - 6 * dpr);
  ctx.lineTo(tip + side * 9 * dpr, y + 6 * dpr);
  ctx.closePath();
  ctx.lineJoin = "round";
  ctx.lineWidth = 3 * dpr;
  ctx.strokeStyle = theme.surface;
  ctx.stroke();
  ctx.fillStyle = colour;
  ctx.fill();
}

/**
 * @param {Paint} paint
 * @param {number} x
 * @param {number} y
 * @param {any} mark
 */
function labelExit(paint, x, y, mark) {
  const { ctx, dpr, theme, words } = paint;
  const reason = mark.reason ?? "exit";
  const text = mark.profit === null ? (words[reason] ?? reason) : money(mark.profit, true);
  setFont(paint, 10, 600);
  alignText(ctx, "left", "middle");
  ctx.lineWidth = 3 * dpr;
  ctx.strokeStyle = theme.surface;
  ctx.strokeText(text, x + 14 * dpr, y);
  ctx.fillStyle = theme.text;
  ctx.fillText(text, x + 14 * dpr, y);
}

/**
 * Notes of a script above their candles: a flag, and the text where there is room for it.
 * @param {Paint} paint
 * @param {ReadonlyMap<number, string[]>} notes  by index
 */
export function drawNotes(paint, notes) {
  if (notes.size === 0) return;
  const { ctx, dpr, series, theme, scale, pane } = paint;
  setFont(paint, 10, 600);
  alignText(ctx, "left", "bottom");
  let taken = -Infinity;
  for (let i = paint.from; i < paint.to; i += 1) {
    const texts = notes.get(i);
    if (texts === undefined) continue;
    const x = Math.round(paint.xOf(series.slot[i]));
    const y = Math.max(pane.top + 16 * dpr, Math.round(scale.yOf(series.high[i])) - 16 * dpr);
    if (x < taken) continue;
    ctx.fillStyle = theme.zigzagText;
    ctx.fillRect(x, y - 10 * dpr, lineWidth(dpr), 14 * dpr);
    ctx.fillRect(x, y - 10 * dpr, 6 * dpr, 5 * dpr);
    taken = x + 8 * dpr;
    const text = texts.join(" · ");
    const width = widthOf(ctx, text);
    if (paint.spacing < 4 * dpr || width > 160 * dpr) continue;
    ctx.lineWidth = 3 * dpr;
    ctx.strokeStyle = theme.surface;
    ctx.strokeText(text, x + 9 * dpr, y);
    ctx.fillStyle = theme.text;
    ctx.fillText(text, x + 9 * dpr, y);
    taken = x + width + 12 * dpr;
  }
}
