/**
 * The page's texts by key. `{name}` in a text stands for a value.
 */

/** @type {Record<string, string>} */
const TEXTS = {
  "phase.error": "The chart cannot be loaded",
  "phase.empty": "No candles of {symbol} {interval} yet",
  "phase.emptyHint": "They appear here as soon as the engine has stored some. "
    + "To fill the store now: python main.py --initdb {symbol}",
  "phase.locked": "This chart is locked",
  "phase.lockedHint": "Open the link that Milo printed when it started.",
  "phase.passwordHint": "Open the link that Milo printed when it started, or give the password.",
  "phase.noAnswer": "Milo does not answer.",
  "phase.retry": "Try again",
  "phase.ownChart": "Show the run's own chart",
  "phase.password": "Password",
  "phase.unlock": "Unlock",
  "age.stale": "stale since {time}",
  "age.finished": "run finished",
  "age.stored": "stored data",
  "age.old": "data {age} old",
  "banner.lost": "Stale since {time} UTC: {reason} Trying again…",
  "banner.silent": "Stale since {time} UTC: the market sends nothing.",
  "range.title": "Whole history",
  "range.window": "Shown candles",
  "range.from": "First candle shown",
  "range.to": "Last candle shown",
  "range.span": "{from} to {to} UTC",
  "range.loading": "loading candle {index} of {total}",
};

/**
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function text(key, values = {}) {
  return TEXTS[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
