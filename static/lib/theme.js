/**
 * Light, dark or as the system has it, the colours of rise and fall, and what the canvas takes of
 * them from the style sheet.
 */

import { choice, store } from "./settings.js";

const TOKENS = [
  "surface", "text", "muted", "edge", "grid", "gap", "hatch", "up", "down", "up-faint",
  "down-faint", "forming-band", "crosshair", "crosshair-tag", "crosshair-ink", "tag-ink", "zigzag",
  "zigzag-text", "bull", "bear", "entry", "target", "stop", "liquidation", "stop-zone",
  "target-zone", "line1", "line2", "line3", "line4",
];
/** What can be chosen; the first is what holds without a choice. */
export const LOOKS = { theme: ["auto", "light", "dark"], colours: ["safe", "classic", "red-up"] };

/** @typedef {keyof typeof LOOKS} Look */

/** @param {Look} name */
export const shownLook = (name) => document.documentElement.dataset[name] ?? LOOKS[name][0];

/** Give the page what was chosen in an earlier visit. */
export function applyLooks() {
  for (const name of /** @type {Look[]} */ (Object.keys(LOOKS))) apply(name, choice(name, LOOKS[name]));
}

/**
 * Choose a look, for later visits too.
 * @param {Look} name
 * @param {string} value
 */
export function choose(name, value) {
  store(name, value);
  apply(name, value);
}

/**
 * @param {Look} name
 * @param {string} value
 */
function apply(name, value) {
  document.documentElement.dataset[name] = value;
}

/**
 * The colours by name, read once per change: canvas cannot use custom properties.
 * @returns {Record<string, string>}
 */
export function readTheme() {
  const probe = document.createElement("span");
  // Where the system forces its colours, the tokens name them already.
  probe.style.forcedColorAdjust = "none";
  document.body.append(probe);
  /** @type {Record<string, string>} */
  const theme = { font: getComputedStyle(document.body).fontFamily };
  for (const token of TOKENS) {
    probe.style.color = `var(--${token})`;
    const name = token.replace(/-./g, (match) => match[1].toUpperCase());
    theme[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return theme;
}
