/**
 * Panes: what stands below the price, which columns each shows, and how much of the height it gets.
 */

import { compact, fixed } from "../lib/format.js";
import { PriceScale } from "./scale.js";

const LEAST_HEIGHT_PX = 44;
const MOST_SHARE = 0.62;
// Of the visible range that is left free above and below.
const MARGIN = 0.06;

/**
 * @typedef {object} Pane
 * @property {string} name
 * @property {string} title
 * @property {number} share       of the chart's height
 * @property {string[]} lines     names of columns
 * @property {string} [histogram] the name of a column
 * @property {number[]} guides    values with a line of their own, always in view
 * @property {number} top         device pixels
 * @property {number} bottom
 * @property {PriceScale} scale
 * @property {number[]} ticks
 * @property {number} tick        the finest step of its axis
 * @property {(value: number) => string} text
 *
 * @typedef {Pick<Pane, "name" | "title" | "share" | "lines" | "histogram" | "guides">} Plan
 */

/** @type {Plan[]} */
const KNOWN = [
  { name: "volume", title: "", share: 0.17, lines: [], guides: [] },
  { name: "rsi", title: "RSI", share: 0.18, lines: [], guides: [30, 70] },
  {
    name: "macd", title: "MACD", share: 0.18,
    lines: ["macd", "macdSignal"], histogram: "macdHistogram", guides: [0],
  },
  { name: "stochastic", title: "Stochastic", share: 0.18, lines: ["stochK", "stochD"], guides: [20, 80] },
];

/**
 * The pane in which a column is drawn.
 * @param {string} name
 * @param {Map<string, string>} plots  panes of script plots
 */
export function paneOf(name, plots) {
  if (name.startsWith("plot:")) return plots.get(name) ?? "price";
  if (name.startsWith("rsi")) return "rsi";
  if (name.startsWith("macd")) return "macd";
  return name.startsWith("stoch") ? "stochastic" : "price";
}

/**
 * The panes that there is something for, from top to bottom, the price first.
 * @param {import("./columns.js").Series} series
 * @param {Record<string, boolean>} layers
 * @param {Map<string, string>} plots
 * @returns {Plan[]}
 */
export function plansOf(series, layers, plots) {
  /** @type {Plan} */
  const price = { name: "price", title: "", share: 0, lines: [], guides: [] };
  /** @type {Plan[]} */
  const plans = [price, ...KNOWN.map((plan) => ({ ...plan, lines: [...plan.lines] }))];
  const has = new Set(["price", "volume"]);
  for (const name of series.names) {
    const pane = paneOf(name, plots);
    has.add(pane);
    let plan = plans.find((one) => one.name === pane);
    if (plan === undefined) {
      plan = { name: pane, title: pane, share: 0.18, lines: [], guides: [] };
      plans.push(plan);
    }
    if (!plan.lines.includes(name)) plan.lines.push(name);
  }
  if (layers.averages === false) price.lines = price.lines.filter((name) => name.startsWith("plot:"));
  for (const plan of plans) plan.lines = plan.lines.filter((name) => series.names.includes(name));
  return plans.filter((plan) => has.has(plan.name) && layers[plan.name] !== false);
}

/**
 * Give each pane its place, the price what is left. Panes that would be too low to read are left
 * out, the last one first.
 * @param {Plan[]} plans
 * @param {Record<string, number>} shares  heights that were chosen, by pane
 * @param {number} height
 * @param {number} dpr
 * @returns {(Plan & {top: number, bottom: number})[]}
 */
export function laidOut(plans, shares, height, dpr) {
  const shown = [...plans];
  const shareOf = (/** @type {Plan} */ plan) => (plan.share === 0 ? 0 : (shares[plan.name] ?? plan.share));
  for (;;) {
    const sum = shown.reduce((total, plan) => total + shareOf(plan), 0);
    const shrink = Math.min(1, MOST_SHARE / Math.max(sum, 1e-9));
    const least = Math.min(...shown.slice(1).map((plan) => shareOf(plan) * shrink * height));
    if (shown.length > 2 && least < LEAST_HEIGHT_PX * dpr) {
      shown.pop();
      continue;
    }
    let top = Math.round(height * (1 - sum * shrink));
    return shown.map((plan, k) => {
      if (k === 0) return { ...plan, top: 0, bottom: top };
      const bottom = k === shown.length - 1 ? height : Math.round(top + shareOf(plan) * shrink * height);
      const place = { ...plan, top, bottom };
      top = bottom;
      return place;
    });
  }
}

/**
 * The scale of a pane below the price, and how its values are written.
 * @param {Plan & {top: number, bottom: number}} plan
 * @param {import("./columns.js").Series} series
 * @param {number} from
 * @param {number} to
 * @param {{decimals: number, range: [number, number] | undefined}} options  `range`: chosen by hand
 * @returns {Pick<Pane, "scale" | "tick" | "text">}
 */
export function scaleOf(plan, series, from, to, { decimals, range }) {
  const names = plan.name === "volume" ? ["volume"] : [...plan.lines];
  if (plan.histogram !== undefined && series.columns[plan.histogram]) names.push(plan.histogram);
  let low = Math.min(Infinity, ...plan.guides);
  let high = Math.max(-Infinity, ...plan.guides);
  for (const name of names) {
    low = Math.min(low, series.least(name).over(from, to));
    high = Math.max(high, series.most(name).over(from, to));
  }
  if (!(low <= high)) [low, high] = [0, 1];
  const room = (high - low || Math.abs(high) || 1) * MARGIN;
  const isVolume = plan.name === "volume";
  const [least, most] = range ?? [isVolume ? 0 : low - room, high + room];
  const isWhole = plan.name === "rsi" || plan.name === "stochastic";
  const digits = Math.min(12, Math.max(0, Math.ceil(1 - Math.log10(Math.max(most - least, 1e-12)))));
  const shown = isWhole ? 0 : Math.min(decimals + 2, digits + 1);
  return {
    scale: new PriceScale(least, most, plan.top, plan.bottom),
    tick: isVolume ? 1e-9 : 10 ** -shown,
    text: isVolume ? compact : (value) => fixed(value, shown),
  };
}
