/** What a visitor chose, kept in this browser for later visits. */

const PREFIX = "milo-";

/** @param {string} name */
export function stored(name) {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null; // storage is blocked: what the system says holds
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
export function store(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // Storage is blocked: the choice holds until the page is left.
  }
}

/**
 * A stored choice where it is one of those that there are, else the first of them.
 * @param {string} name
 * @param {readonly string[]} choices
 */
export function choice(name, choices) {
  const value = stored(name);
  return value !== null && choices.includes(value) ? value : choices[0];
}

/**
 * Names that were switched on or off.
 * @param {string} name
 * @returns {Record<string, boolean>}
 */
export function storedFlags(name) {
  try {
    const found = Object.entries(JSON.parse(stored(name) ?? "{}"));
    return Object.fromEntries(found.filter(([, isOn]) => typeof isOn === "boolean"));
  } catch {
    return {}; // not ours, or of an older page
  }
}
