/**
 * Tabs: one of several panels is shown. On a wide page some of them are not tabs but stand by
 * themselves; on a phone all of them share the place below the chart.
 */

import { button, mark } from "../lib/dom.js";

/**
 * @typedef {object} Tab
 * @property {string} name
 * @property {HTMLElement} panel
 * @property {boolean} [isApart]  stands by itself on a wide page
 */

export class Tabs {
  /**
   * @param {HTMLElement} list
   * @param {Tab[]} tabs
   * @param {(name: string) => void} onShown
   */
  constructor(list, tabs, onShown) {
    this.list = list;
    this.tabs = tabs;
    this.onShown = onShown;
    this.narrow = matchMedia("(max-width: 719px)");
    this.shown = tabs.find((tab) => !tab.isApart)?.name ?? "";
    list.setAttribute("role", "tablist");
    this.buttons = tabs.map((tab) => {
      const made = button("", () => this.show(tab.name, true), {
        role: "tab", id: `tab-${tab.name}`, "aria-controls": tab.panel.id,
      });
      made.addEventListener("keydown", (event) => this.#onKey(event));
      return made;
    });
    list.append(...this.buttons);
    this.narrow.addEventListener("change", () => this.show(this.shown));
    this.show(this.shown);
  }

  /** @param {(name: string) => string} titleOf */
  label(titleOf) {
    this.tabs.forEach((tab, k) => { this.buttons[k].textContent = titleOf(tab.name); });
  }

  /**
   * @param {string} name
   * @param {boolean} [isWanted]  somebody asked for it: bring it into view on a phone
   */
  show(name, isWanted = false) {
    const isNarrow = this.narrow.matches;
    const isTab = (/** @type {Tab} */ tab) => isNarrow || !tab.isApart;
    const first = this.tabs.find(isTab);
    this.shown = (this.tabs.find((tab) => tab.name === name && isTab(tab)) ?? first)?.name ?? "";
    this.tabs.forEach((tab, k) => {
      const isShown = tab.name === this.shown;
      const { panel } = tab;
      this.buttons[k].hidden = !isTab(tab);
      mark(this.buttons[k], "aria-selected", String(isShown));
      this.buttons[k].tabIndex = isShown ? 0 : -1;
      panel.hidden = isTab(tab) && !isShown;
      if (isTab(tab)) {
        mark(panel, "role", "tabpanel");
        mark(panel, "aria-labelledby", `tab-${tab.name}`);
      } else {
        panel.removeAttribute("role");
        panel.removeAttribute("aria-labelledby");
      }
      if (isShown && isWanted && isNarrow) panel.scrollIntoView({ block: "nearest" });
    });
    this.onShown(this.shown);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const seen = this.buttons.filter((one) => !one.hidden);
    const at = seen.indexOf(/** @type {HTMLElement} */ (event.currentTarget));
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: seen.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const chosen = seen[(next + seen.length) % seen.length];
    chosen.click();
    chosen.focus();
  }
}
