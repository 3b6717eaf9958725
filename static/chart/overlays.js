/**
 * What is drawn over the candles: ZigZag, divergences, the open position, entries and exits.
 * All values come from the server; nothing is computed from prices here.
 */

import { decimal, fixed, money, percent } from "../lib/format.js";
import { firstItemFrom } from "./data.js";
import { horizontal, lineWidth, setFont } from "./draw.js";

/** @typedef {import("./draw.js").Paint} Paint */

// Closer together than this, labels and dots would hide what they belong to.
const LABELS_NEED_PX = 22;
const DOTS_NEED_PX = 10;
const DIVERGENCES = {
  bullish: { label: "Bull +", isBull: true, isHidden: false },
  bearish: { label: "Bear −", isBull: false, isHidden: false },
  hidden_bullish: { label: "Hidden bull +", isBull: true, isHidden: true },
  hidden_bearish: { label: "Hidden bear −", isBull: false, isHidden: true },
};

/**
 * Run `draw` clipped to the price pane: what leaves it is cut, never bent.
 * @param {Paint} paint
 * @param {() => void} draw
 */
export function clipped(paint, draw) {
  const { ctx, layout } = paint;
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, 0, layout.right, layout.volumeTop);
  ctx.clip();
  draw();
  ctx.restore();
}

/**
 * Swing points joined by one line; the leg to the provisional point is dashed.
 * @param {Paint} paint
 * @param {any[]} points  placed, oldest first
 */
export function drawZigzag(paint, points) {
  const [first, last] = visibleRange(paint, points);
  if (last - first < 1) return;
  const { ctx, theme, dpr, scale } = paint;
  ctx.strokeStyle = theme.zigzag;
  ctx.lineWidth = (paint.spacing < 2 * dpr ? 1 : 1.5) * dpr;
  ctx.lineJoin = "round";
  let confirmedEnd = last;
  while (confirmedEnd > first && !points[confirmedEnd].confirmed) confirmedEnd -= 1;
  const trace = (/** @type {number} */ start, /** @type {number} */ end) => {
    ctx.beginPath();
    for (let k = start; k <= end; k += 1) {
      ctx.lineTo(paint.xOf(points[k].slot), scale.yOf(points[k].value));
    }
    ctx.stroke();
  };
  trace(first, confirmedEnd);
  if (confirmedEnd < last) {
    ctx.setLineDash([5 * dpr, 4 * dpr]);
    trace(confirmedEnd, last);
    ctx.setLineDash([]);
  }
  labelSwings(paint, points, first, last);
}

/**
 * Indices of the points in view, with one more on each side so that lines reach the edge.
 * @param {Paint} paint
 * @param {any[]} points
 * @returns {[number, number]}
 */
function visibleRange(paint, points) {
  if (points.length === 0 || paint.to === 0) return [0, -1];
  const { series } = paint;
  const from = firstItemFrom(points, series.slot[Math.min(paint.from, series.last)]);
  const to = firstItemFrom(points, series.slot[paint.to - 1] + 0.5);
  return [Math.max(0, from - 1), Math.min(points.length - 1, to)];
}

/**
 * @param {Paint} paint
 * @param {any[]} points
 * @param {number} first
 * @param {number} last
 */
function labelSwings(paint, points, first, last) {
  const { ctx, theme, dpr, series, scale, layout } = paint;
  const span = paint.xOf(points[last].slot) - paint.xOf(points[first].slot);
  if (span / (last - first) < LABELS_NEED_PX * dpr * 0.6) return;
  setFont(paint, 10, 600);
  ctx.textAlign = "center";
  ctx.lineJoin = "round";
  ctx.lineWidth = 3 * dpr;
  ctx.strokeStyle = theme.surface;
  for (let k = first; k <= last; k += 1) {
    const point = points[k];
    const isPeak = point.type === "peak";
    const reach = isPeak ? series.high[point.index] : series.low[point.index];
    const y = scale.yOf(reach) + (isPeak ? -6 : 6) * dpr;
    if (y < 0 || y > layout.priceBottom + 12 * dpr) continue;
    ctx.textBaseline = isPeak ? "bottom" : "top";
    ctx.globalAlpha = point.confirmed ? 1 : 0.75;
    const text = (isPeak ? "▴ " : "▾ ") + point.label;
    ctx.strokeText(text, paint.xOf(point.slot), y);
    ctx.fillStyle = theme.zigzagText;
    ctx.fillText(text, paint.xOf(point.slot), y);
  }
  ctx.globalAlpha = 1;
}

/**
 * Divergence lines: solid for regular ones, dashed for hidden ones, each with its name. One whose
 * end lies outside the view is cut at the edge; its label stays on the visible part.
 * @param {Paint} paint
 * @param {any[]} pairs placed, oldest first
 */
export function drawDivergences(paint, pairs) {
  const { ctx, theme, dpr, scale, layout } = paint;
  /** @type {{left: number, right: number, top: number}[]} */
  const taken = [];
  // Newest first: where labels would overlap, the newest one is kept.
  for (let k = pairs.length - 1; k >= 0; k -= 1) {
    const pair = pairs[k];
    const kind = DIVERGENCES[/** @type {keyof typeof DIVERGENCES} */ (pair.type)];
    const x1 = paint.xOf(pair.startSlot);
    const x2 = paint.xOf(pair.endSlot);
    if (kind === undefined || x2 < 0 || x1 > layout.right) continue;
    const y1 = scale.yOf(pair.startPrice);
    const y2 = scale.yOf(pair.endPrice);
    const colour = kind.isBull ? theme.bull : theme.bear;
    ctx.strokeStyle = colour;
    ctx.lineWidth = 2 * dpr;
    ctx.globalAlpha = pair.confirmed === false ? 0.6 : 1;
    ctx.setLineDash(kind.isHidden ? [6 * dpr, 4 * dpr] : []);
    ctx.beginPath();
    ctx.moveTo(x1, y1);
    ctx.lineTo(x2, y2);
    ctx.stroke();
    ctx.setLineDash([]);
    if (x2 - x1 >= DOTS_NEED_PX * dpr) ends(paint, [[x1, y1], [x2, y2]], colour);
    if (x2 - x1 >= LABELS_NEED_PX * dpr) labelDivergence(paint, { x1, y1, x2, y2, colour, ...kind }, taken);
    ctx.globalAlpha = 1;
  }
}

/**
 * @param {Paint} paint
 * @param {number[][]} points
 * @param {string} colour
 */
function ends(paint, points, colour) {
  const { ctx, dpr } = paint;
  ctx.fillStyle = colour;
  ctx.beginPath();
  for (const [x, y] of points) {
    ctx.moveTo(x + 3 * dpr, y);
    ctx.arc(x, y, 3 * dpr, 0, 2 * Math.PI);
  }
  ctx.fill();
}

/**
 * @param {Paint} paint
 * @param {{x1: number, y1: number, x2: number, y2: number, colour: string, label: string,
 *   isBull: boolean}} line
 * @param {{left: number, right: number, top: number}[]} taken
 */
function labelDivergence(paint, line, taken) {
  const { ctx, dpr, layout, theme } = paint;
  const left = Math.max(line.x1, 0);
  const right = Math.min(line.x2, layout.right);
  const share = line.x2 === line.x1 ? 0 : ((left + right) / 2 - line.x1) / (line.x2 - line.x1);
  const y = line.y1 + (line.y2 - line.y1) * share + (line.isBull ? 15 : -15) * dpr;
  setFont(paint, 10, 600);
  const half = ctx.measureText(line.label).width / 2;
  const x = Math.min(Math.max((left + right) / 2, half + 4 * dpr), layout.right - half - 4 * dpr);
  const box = { left: x - half, right: x + half, top: y - 7 * dpr };
  const isBlocked = taken.some(
    (other) =>
      box.left < other.right && box.right > other.left && Math.abs(box.top - other.top) < 14 * dpr,
  );
  if (isBlocked) return;
  taken.push(box);
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.lineWidth = 4 * dpr;
  ctx.strokeStyle = theme.surface;
  ctx.strokeText(line.label, x, y);
  ctx.fillStyle = line.colour;
  ctx.fillText(line.label, x, y);
}

/**
 * Shade what the position risks and what it aims at, from its entry to the right edge.
 * @param {Paint} paint
 * @param {any} position
 * @param {number} openSlot
 */
export function drawPositionZones(paint, position, openSlot) {
  const { ctx, theme, scale, layout } = paint;
  const left = Math.max(0, Math.round(paint.xOf(openSlot)));
  if (left >= layout.right) return;
  const entry = scale.yOf(Number(position.entryPrice));
  const zones = [
    [position.stopPrice, theme.stopZone],
    [position.targetPrice, theme.targetZone],
  ];
  for (const [level, colour] of zones) {
    if (level === null) continue;
    const y = scale.yOf(Number(level));
    ctx.fillStyle = colour;
    ctx.fillRect(left, Math.min(entry, y), layout.right - left, Math.abs(entry - y));
  }
}

/**
 * Lines of the open position with a label in the pane and a price on the axis. A level out of
 * view keeps its label, at the edge.
 * @param {Paint} paint
 * @param {any} position
 */
export function drawPositionLines(paint, position) {
  const { theme, scale, layout } = paint;
  const entry = Number(position.entryPrice);
  const side = position.direction === "long" ? "Long" : "Short";
  const sign = position.direction === "long" ? "▲" : "▼";
  const distance = (/** @type {string} */ level) => percent(Number(level) / entry - 1);
  /** @type {[string | null, string, string, number[]][]} */
  const levels = [
    [position.targetPrice, "Target", theme.target, [8, 4]],
    [position.entryPrice, `${sign} ${side} ${decimal(position.quantity)}`, theme.entry, []],
    [position.stopPrice, "Stop", theme.stop, [3, 3]],
    [position.liquidationPrice, "Liquidation", theme.liquidation, [1, 4]],
  ];
  const chips = [];
  for (const [level, name, colour, dash] of levels) {
    if (level === null) continue;
    const y = scale.yOf(Number(level));
    const isInView = y >= 0 && y <= layout.priceBottom;
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
  const { ctx, dpr, layout, theme } = paint;
  const height = 18 * dpr;
  setFont(paint, 11, 600);
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  const sorted = [...chips].sort((a, b) => a.y - b.y);
  const tops = sorted.map((chip) => Math.min(Math.max(chip.y, 0), layout.priceBottom) - height / 2);
  for (let k = 0; k < tops.length; k += 1) {
    tops[k] = Math.max(tops[k], k === 0 ? 2 * dpr : tops[k - 1] + height + dpr);
  }
  let ceiling = layout.volumeTop - 2 * dpr;
  for (let k = tops.length - 1; k >= 0; k -= 1) {
    tops[k] = Math.min(tops[k], ceiling - height);
    ceiling = tops[k] - dpr;
  }
  sorted.forEach((chip, k) => {
    const top = Math.round(tops[k]);
    const width = ctx.measureText(chip.text).width + 12 * dpr;
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
  const { ctx, theme, dpr, scale, layout } = paint;
  let entry = null;
  for (const mark of marks) {
    const x = paint.xOf(mark.slot);
    const y = scale.yOf(Number(mark.price));
    const colour = mark.side === "BUY" ? theme.up : theme.down;
    if (mark.kind === "entry") {
      entry = { x, y };
    } else if (entry !== null && x > 0 && entry.x < layout.right) {
      ctx.strokeStyle = theme.text;
      ctx.lineWidth = lineWidth(dpr);
      ctx.setLineDash([2 * dpr, 3 * dpr]);
      ctx.beginPath();
      ctx.moveTo(entry.x, entry.y);
      ctx.lineTo(x, y);
      ctx.stroke();
      ctx.setLineDash([]);
    }
    if (x < -12 * dpr || x > layout.right + 12 * dpr) continue;
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
  const { ctx, dpr, theme } = paint;
  const text = mark.profit === null ? (mark.reason ?? "exit") : money(mark.profit, true);
  setFont(paint, 10, 600);
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.lineWidth = 3 * dpr;
  ctx.strokeStyle = theme.surface;
  ctx.strokeText(text, x + 14 * dpr, y);
  ctx.fillStyle = theme.text;
  ctx.fillText(text, x + 14 * dpr, y);
}
