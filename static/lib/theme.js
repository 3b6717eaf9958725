/**
 * Light, dark or as the system has it, and the colours that the canvas takes from the style sheet.
 */

const TOKENS = [
  "surface", "text", "muted", "edge", "grid", "gap", "hatch", "up", "down", "up-faint",
  "down-faint", "forming-band", "crosshair", "crosshair-tag", "crosshair-ink", "tag-ink", "zigzag",
  "zigzag-text", "bull", "bear", "entry", "target", "stop", "liquidation", "stop-zone",
  "target-zone", "line1", "line2", "line3", "line4",
];
/** @type {Record<string, [string, string]>} icon and name */
const THEMES = { auto: ["◐", "Auto"], light: ["☀", "Light"], dark: ["☾", "Dark"] };
const KEY = "milo-theme";

/** Choose the next theme, and keep it for later visits. */
export function nextTheme() {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(storedTheme()) + 1) % names.length];
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Storage is blocked: the choice holds until the page is left.
  }
  applyTheme(next);
  showTheme();
}

/** Name the theme on its button. */
export function showTheme() {
  const [icon, title] = THEMES[document.documentElement.dataset.theme ?? "auto"];
  const write = (/** @type {string} */ id, /** @type {string} */ text) => {
    const element = document.getElementById(id);
    if (element !== null) element.textContent = text;
  };
  write("theme-icon", icon);
  write("theme-name", title);
  document.getElementById("theme")?.setAttribute("aria-label", `Colours: ${title}`);
}

export function storedTheme() {
  try {
    const name = localStorage.getItem(KEY);
    return name !== null && name in THEMES ? name : "auto";
  } catch {
    return "auto"; // storage is blocked: the system's choice holds
  }
}

/** @param {string} name */
export function applyTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

/**
 * The colours by name, read once per change: canvas cannot use custom properties.
 * @returns {Record<string, string>}
 */
export function readTheme() {
  const probe = document.createElement("span");
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
