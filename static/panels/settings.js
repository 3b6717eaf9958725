/** Theme, colours, time zone and language; each choice is kept for later visits. */

import { make } from "../lib/dom.js";
import { LANGUAGES, shownLanguage, text } from "../lib/i18n.js";
import { LOOKS, shownLook } from "../lib/theme.js";
import { browserZone, zoneName } from "../lib/zone.js";
import { openDialog } from "./dialog.js";

/** @type {Record<import("../lib/theme.js").Look, (value: string) => string>} */
const LOOK_TEXTS = {
  theme: (value) => text(`theme.${value}`),
  colours: (value) => text(`colours.${value}`),
};

/**
 * @typedef {object} Choices
 * @property {(name: import("../lib/theme.js").Look, value: string) => void} onLook
 * @property {(zone: string) => void} onZone
 * @property {(language: string) => Promise<void>} onLanguage
 */

/**
 * @param {string} zone  what is shown now
 * @param {Choices} choices
 */
export function openSettings(zone, choices) {
  const looks = /** @type {import("../lib/theme.js").Look[]} */ (["theme", "colours"]);
  const zones = new Set(["UTC", browserZone(), zone]);
  const language = choiceOf("language", shownLanguage(), Object.entries(LANGUAGES), (name) => {
    void choices.onLanguage(name).then(() => {
      dialog.close();
      dialog.remove(); // before another one with the same names is there
      openSettings(zone, choices);
      document.getElementById("choose-language")?.focus();
    });
  });
  const dialog = openDialog(
    "settings-dialog",
    text("settings.title"),
    ...looks.map((name) => choiceOf(
      name,
      shownLook(name),
      LOOKS[name].map((value) => [value, LOOK_TEXTS[name](value)]),
      (value) => choices.onLook(name, value),
    )),
    choiceOf("zone", zone, Array.from(zones, (name) => [name, zoneName(name)]), choices.onZone),
    language,
  );
}

/**
 * @param {string} name
 * @param {string} chosen
 * @param {[string, string][]} values  with their texts
 * @param {(value: string) => void} onChosen
 */
function choiceOf(name, chosen, values, onChosen) {
  const select = /** @type {HTMLSelectElement} */ (make("select", { id: `choose-${name}` }));
  for (const [value, shown] of values) select.append(new Option(shown, value, false, value === chosen));
  select.addEventListener("change", () => onChosen(select.value));
  const label = /** @type {HTMLLabelElement} */ (make("label", { text: text(`settings.${name}`) }));
  label.htmlFor = select.id;
  return make("div", { className: "choice" }, label, select);
}
