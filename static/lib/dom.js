/**
 * The small means to build the page. Text of scripts, symbols and errors is only ever inserted as
 * text, and into no attribute that could run or fetch anything.
 */

const SAFE_ATTRIBUTES = new Set([
  "id", "type", "role", "scope", "tabindex", "datetime", "aria-label", "aria-labelledby",
  "aria-controls", "aria-pressed", "aria-selected", "aria-busy", "aria-valuemin", "aria-valuemax",
  "aria-valuenow", "aria-valuetext", "data-kind", "data-text", "data-label",
]);

/** @param {string} id */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}

/**
 * An element; what is no `className` or `text` becomes an attribute.
 * @param {string} name
 * @param {Record<string, string | undefined>} [options]
 * @param {...(Node | string)} children
 */
export function make(name, { className, text, ...attributes } = {}, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== undefined) mark(element, attribute, value);
  }
  element.append(...children);
  return element;
}

/**
 * @param {string} text
 * @param {() => void} act
 * @param {Record<string, string | undefined>} [options]  as of `make`
 */
export function button(text, act, options = {}) {
  const element = make("button", { type: "button", text, ...options });
  element.addEventListener("click", act);
  return element;
}

/**
 * Set text only where it differs: an untouched node keeps selection and costs no layout.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Set an attribute only where it differs.
 * @param {Element} element
 * @param {string} name
 * @param {string} value
 */
export function mark(element, name, value) {
  if (!SAFE_ATTRIBUTES.has(name)) throw new Error(`${name} is no attribute to be set`);
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
