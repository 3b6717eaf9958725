/**
 * The page's texts by key, in the language of the visitor. `{name}` in a text stands for a value.
 * English is always here; the others are fetched when they are chosen. Numbers look the same in all
 * of them, as they do in scripts and at exchanges: 1.234 is never a thousand.
 */

import { ENGLISH } from "../i18n/en.js";
import { dates } from "./format.js";
import { stored } from "./settings.js";

/** What there is, each in its own words. @type {Readonly<Record<string, string>>} */
export const LANGUAGES = { en: "English", de: "Deutsch", fr: "Français", ko: "한국어" };

/** @type {Readonly<Record<string, string>>} */
let table = ENGLISH;
let language = "en";
let plurals = new Intl.PluralRules("en");

/**
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function text(key, values = {}) {
  const found = table[key] ?? ENGLISH[key];
  return found.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * A text that depends on a number: of the keys `key.one`, `key.other` ... that of its plural form.
 * @param {string} key
 * @param {number} count
 * @param {Record<string, string | number>} [values]
 */
export function counted(key, count, values = {}) {
  const form = `${key}.${plurals.select(count)}`;
  return text(form in table ? form : `${key}.other`, { count, ...values });
}

/**
 * The text of a name that the engine gave, or the name itself where it is not known here.
 * @param {string} key
 * @param {string} name
 */
export function named(key, name) {
  return Object.hasOwn(ENGLISH, key) ? text(key) : name;
}

/** All texts whose key begins so, by the rest of it. @param {string} prefix */
export function texts(prefix) {
  const keys = Object.keys(ENGLISH).filter((key) => key.startsWith(prefix));
  return Object.fromEntries(keys.map((key) => [key.slice(prefix.length), text(key)]));
}

/** The language that was chosen, or the first of the browser's that is here. */
export function wantedLanguage() {
  const chosen = stored("language");
  if (chosen !== null && chosen in LANGUAGES) return chosen;
  for (const tag of navigator.languages) {
    const [name] = tag.split("-");
    if (name in LANGUAGES) return name;
  }
  return "en";
}

export const shownLanguage = () => language;

/**
 * Speak another language from now on; English where its texts cannot be had.
 * @param {string} name
 */
export async function setLanguage(name) {
  let found = ENGLISH;
  if (name !== "en") {
    try {
      const response = await fetch(`/static/i18n/${name}.json`);
      if (!response.ok) throw new Error(`no texts in ${name}`);
      found = await response.json();
    } catch {
      name = "en";
    }
  }
  table = found;
  language = name;
  plurals = new Intl.PluralRules(name);
  document.documentElement.lang = name;
  dates.months = text("date.months").split(" ");
  dates.day = text("date.day");
  dates.full = text("date.full");
}

/**
 * Put texts where the page's own elements ask for them: `data-text` for what they hold, `data-label`
 * for their accessible name, `data-role` for what they are said to be, `data-hint` for what hovering
 * shows.
 * @param {ParentNode} root
 */
export function translate(root) {
  const each = (/** @type {string} */ name, /** @type {(element: HTMLElement, text: string) => void} */ put) => {
    for (const element of root.querySelectorAll(`[data-${name}]`)) {
      if (element instanceof HTMLElement) put(element, text(element.dataset[name] ?? ""));
    }
  };
  each("text", (element, found) => { element.textContent = found; });
  each("label", (element, found) => element.setAttribute("aria-label", found));
  each("role", (element, found) => element.setAttribute("aria-roledescription", found));
  each("hint", (element, found) => { element.title = found; });
}
