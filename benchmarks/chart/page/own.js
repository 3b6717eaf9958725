import { Series } from "/static/chart/columns.js";
import { Chart } from "/static/chart/view.js";
import { COUNT, load, offer } from "./common.js";

const TOKENS = [
  "surface", "text", "muted", "edge", "grid", "gap", "hatch", "up", "down", "up-faint",
  "down-faint", "forming-band", "crosshair", "crosshair-tag", "crosshair-ink", "tag-ink", "zigzag",
  "zigzag-text", "bull", "bear", "line1", "line2", "line3", "line4",
];

function theme() {
  const style = getComputedStyle(document.body);
  const probe = document.body.appendChild(document.createElement("span"));
  /** @type {Record<string, string>} */
  const colours = { font: style.fontFamily };
  for (const token of TOKENS) {
    probe.style.color = `var(--${token})`;
    colours[token.replace(/-./g, (match) => match[1].toUpperCase())] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}

async function start() {
  const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
  const chart = new Chart(
    element("box"),
    /** @type {HTMLCanvasElement} */ (element("canvas")),
    /** @type {HTMLCanvasElement} */ (element("top")),
  );
  chart.setTheme(theme());
  const { columns, items } = await load();
  const series = new Series({ names: ["ema20", "ema200", "rsi14"] });
  series.put(0, columns);
  chart.decimals = 1;
  chart.setSeries(series);
  chart.setItems(items);
  const last = Object.values(columns).map((column) => column[COUNT - 1]);
  Object.assign(globalThis, { chart });
  await offer({
    show(candles) {
      const middle = COUNT / 2;
      chart.showRange(Math.max(0, Math.floor(middle - candles / 2)), Math.min(COUNT - 1, Math.floor(middle + candles / 2)));
    },
    showNewest: (candles) => chart.showRange(COUNT - candles, COUNT + 5),
    pan: (candles) => chart.panBy(-candles * chart.spacing),
    tick: (row) => chart.update(() => series.append([], row)),
  }, last);
}

void start();
