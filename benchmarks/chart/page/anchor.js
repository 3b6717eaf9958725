import * as library from "/anchor/lightweight-charts/dist/lightweight-charts.standalone.production.mjs";
import { COUNT, IS_CONFLATED, load, offer } from "./common.js";

const UP = "#2f81d6";
const DOWN = "#e0731d";

/** Divergences as what the library calls a primitive: lines drawn over a series. */
class Lines {
  /**
   * @param {any[]} items
   * @param {number[]} times
   * @param {"Price" | "RSI"} what
   */
  constructor(items, times, what) {
    this.items = items.map((item) => ({
      isBull: item.type.endsWith("bullish"),
      isHidden: item.type.startsWith("hidden"),
      start: item.startIndex, end: item.endIndex,
      from: times[item.startIndex], to: times[item.endIndex],
      low: item[`start${what}`], high: item[`end${what}`],
    }));
  }

  /** @param {any} parts */
  attached({ chart, series }) {
    this.chart = chart;
    this.series = series;
  }

  paneViews() {
    return [{ renderer: () => ({ draw: (/** @type {any} */ target) => this.draw(target) }) }];
  }

  /** @param {any} target */
  draw(target) {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (range === null) return;
    target.useBitmapCoordinateSpace((/** @type {any} */ scope) => {
      const { context: ctx, horizontalPixelRatio: h, verticalPixelRatio: v } = scope;
      const scale = this.chart.timeScale();
      for (const [isBull, isHidden] of [[true, false], [true, true], [false, false], [false, true]]) {
        ctx.strokeStyle = isBull ? "#2dd4bf" : "#ff7eb6";
        ctx.lineWidth = 2 * h;
        ctx.setLineDash(isHidden ? [6 * h, 4 * h] : []);
        ctx.beginPath();
        for (const item of this.items) {
          if (item.isBull !== isBull || item.isHidden !== isHidden) continue;
          if (item.end < range.from || item.start > range.to) continue;
          ctx.moveTo(scale.logicalToCoordinate(item.start) * h, this.series.priceToCoordinate(item.low) * v);
          ctx.lineTo(scale.logicalToCoordinate(item.end) * h, this.series.priceToCoordinate(item.high) * v);
        }
        ctx.stroke();
      }
      ctx.setLineDash([]);
    });
  }
}

async function start() {
  const box = /** @type {HTMLElement} */ (document.getElementById("box"));
  const chart = library.createChart(box, {
    width: box.clientWidth,
    height: box.clientHeight,
    layout: { background: { color: "#131722" }, textColor: "#98a2b5", attributionLogo: false },
    grid: { vertLines: { color: "#1c2331" }, horzLines: { color: "#1c2331" } },
    timeScale: {
      timeVisible: true, minBarSpacing: 1e-4,
      ...(IS_CONFLATED ? { enableConflation: true, precomputeConflationOnInit: true } : {}),
    },
  });
  const { columns, items } = await load();
  const { openMs, open, high, low, close, volume } = columns;
  const times = Array.from(openMs, (ms) => ms / 1000);
  const candles = chart.addSeries(library.CandlestickSeries, {
    upColor: "#131722", downColor: DOWN, borderUpColor: UP, borderDownColor: DOWN,
    wickUpColor: UP, wickDownColor: DOWN, priceFormat: { type: "price", precision: 1, minMove: 0.1 },
  });
  const quiet = { priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false };
  const line = (/** @type {string} */ color, pane = 0, lineWidth = 1) =>
    chart.addSeries(library.LineSeries, { color, lineWidth, ...quiet }, pane);
  const averages = [line("#f0b429"), line("#4cc9e8")];
  const zigzag = line("#a78bfa", 0, 1.5);
  const volumes = chart.addSeries(library.HistogramSeries, { ...quiet, priceFormat: { type: "volume" } }, 1);
  const strength = line("#f0b429", 2);
  candles.setData(times.map((time, i) => ({ time, open: open[i], high: high[i], low: low[i], close: close[i] })));
  const points = (/** @type {Float64Array} */ column) =>
    times.map((time, i) => (Number.isNaN(column[i]) ? { time } : { time, value: column[i] }));
  const colour = (/** @type {number} */ i) => (close[i] >= open[i] ? "#20426a" : "#64391a");
  averages[0].setData(points(columns.ema20));
  averages[1].setData(points(columns.ema200));
  zigzag.setData(items.zigzag.map((/** @type {any} */ item) => ({ time: times[item.index], value: item.value })));
  volumes.setData(times.map((time, i) => ({ time, value: volume[i], color: colour(i) })));
  strength.setData(points(columns.rsi14));
  candles.attachPrimitive(new Lines(items.divergences, times, "Price"));
  strength.attachPrimitive(new Lines(items.divergences, times, "RSI"));
  chart.panes()[1].setStretchFactor(0.25);
  chart.panes()[2].setStretchFactor(0.27);
  const scale = chart.timeScale();
  const last = Object.values(columns).map((column) => column[COUNT - 1]);
  Object.assign(globalThis, { chart });
  await offer({
    show(shown) {
      const middle = COUNT / 2;
      scale.setVisibleLogicalRange({ from: middle - shown / 2, to: middle + shown / 2 });
    },
    showNewest: (shown) => scale.setVisibleLogicalRange({ from: COUNT - shown, to: COUNT + 5 }),
    pan: (moved) => scale.scrollToPosition(scale.scrollPosition() + moved, false),
    tick([ms, o, h, l, c, v, fast, slow, rsi]) {
      const time = ms / 1000;
      candles.update({ time, open: o, high: h, low: l, close: c });
      averages[0].update({ time, value: fast });
      averages[1].update({ time, value: slow });
      volumes.update({ time, value: v, color: c >= o ? "#20426a" : "#64391a" });
      strength.update({ time, value: rsi });
    },
  }, last);
}

void start();
