/**
 * What both pages do in the same way: fetch the data, drive the chart by frames, and tell when the
 * first picture stood.
 */

const query = new URLSearchParams(location.search);
export const COUNT = Number(query.get("count"));
export const IS_CONFLATED = query.get("conflated") === "1";
const NAMES = ["openMs", "open", "high", "low", "close", "volume", "ema20", "ema200", "rsi14"];

/** @returns {Promise<{columns: Record<string, Float64Array>, items: any}>} */
export async function load() {
  const { early } = /** @type {any} */ (globalThis);
  const [raw, items] = await Promise.all([early.raw, early.items]);
  early.raw = early.items = null;
  /** @type {Record<string, Float64Array>} */
  const columns = {};
  NAMES.forEach((name, k) => {
    columns[name] = new Float64Array(raw, k * COUNT * 8, COUNT);
  });
  return { columns, items };
}

const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

/** Wait until a frame that was asked for now has been painted. */
async function painted() {
  await frame();
  await new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = resolve;
    port2.postMessage(null);
  });
}

/**
 * @typedef {object} Driver  what a page can do with its chart
 * @property {(candles: number) => void} show   so many candles, in the middle of all
 * @property {(candles: number) => void} showNewest
 * @property {(candles: number) => void} pan    positive: towards newer ones
 * @property {(row: number[]) => void} tick     a new state of the forming candle
 */

/**
 * Offer the moves of the benchmark to the program that drives the browser.
 * @param {Driver} driver
 * @param {number[]} last  the newest row
 */
export async function offer(driver, last) {
  await painted();
  const firstPaint = performance.now();
  const moves = {
    /** @param {number} frames @param {number} shown */
    async pan(frames, shown) {
      driver.show(shown);
      await painted();
      return timed(frames, (k) => {
        const isForth = Math.floor(k / 15) % 4 === 0 || Math.floor(k / 15) % 4 === 3;
        driver.pan((isForth ? 1 : -1) * Math.max(1, shown / 400));
      });
    },
    /** @param {number} frames */
    async zoom(frames) {
      driver.show(80);
      await painted();
      return timed(frames, (k) => {
        driver.show(80 * (COUNT / 80) ** ((k + 1) / frames));
      });
    },
    /** @param {number} frames */
    async tick(frames) {
      driver.showNewest(150);
      await painted();
      const row = [...last];
      row[0] += 60_000;
      return timed(frames, (k) => {
        row[4] = last[4] * (1 + 0.002 * Math.sin(k));
        row[2] = Math.max(row[2], row[4]);
        row[3] = Math.min(row[3], row[4]);
        row[5] += 0.5;
        row[8] = 50 + 10 * Math.sin(k);
        driver.tick([...row]);
      });
    },
  };
  Object.assign(globalThis, { bench: { firstPaint, ...moves } });
}

/**
 * @param {number} frames
 * @param {(k: number) => void} move
 */
async function timed(frames, move) {
  performance.mark("begin");
  const start = performance.now();
  for (let k = 0; k < frames; k += 1) {
    move(k);
    await frame();
  }
  await painted();
  return performance.now() - start;
}
