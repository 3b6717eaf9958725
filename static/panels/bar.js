/** The bar above the chart: whose money, what market, which script, how old the data is. */

import { button, byId, mark, say } from "../lib/dom.js";
import { named, text } from "../lib/i18n.js";

export class Bar {
  /** @param {(wanted: {symbol?: string, interval?: string}) => void} onSelect */
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.symbols = /** @type {HTMLSelectElement} */ (byId("symbol"));
    this.symbols.addEventListener("change", () => onSelect({ symbol: this.symbols.value }));
  }

  /** @param {any} meta */
  show(meta) {
    this.#showVenue(meta);
    this.#showSymbols(meta);
    this.#showIntervals(meta);
    const { script } = meta;
    const element = byId("script");
    element.hidden = script === null;
    if (script !== null) {
      say(byId("script-name"), script.name);
      element.title = text("bar.script", script);
    }
    const state = byId("script-state");
    state.dataset.state = meta.state;
    say(state, named(`state.${meta.state}`, meta.state));
  }

  /** Whose money it is stands on every screen. @param {any} meta */
  #showVenue(meta) {
    const venue = byId("venue");
    const book = meta.isSimulated ? "simulated" : meta.isReal ? "live" : meta.venue === "stored" ? "stored" : "paper";
    venue.hidden = false;
    venue.dataset.book = book;
    venue.title = meta.title;
    const name = meta.isSimulated || book === "stored" ? "" : ` ${meta.venue.toUpperCase()}`;
    say(venue, text(`venue.${book}`) + name);
    const unisolated = byId("unisolated");
    unisolated.hidden = meta.unisolated === null;
    unisolated.title = meta.unisolated ?? "";
    say(byId("title"), meta.title);
  }

  /** @param {any} meta */
  #showSymbols(meta) {
    const { symbols } = this;
    const shown = Array.from(symbols.options, (option) => option.value);
    if (shown.join() !== meta.symbols.join()) {
      symbols.replaceChildren(...meta.symbols.map((/** @type {string} */ name) => new Option(name)));
    }
    if (symbols.value !== meta.symbol) symbols.value = meta.symbol;
    symbols.disabled = meta.symbols.length < 2;
  }

  /** @param {any} meta */
  #showIntervals(meta) {
    const group = byId("intervals");
    const shown = Array.from(group.children, (one) => one.textContent);
    if (shown.join() !== meta.intervals.join()) {
      group.replaceChildren(...meta.intervals.map((/** @type {string} */ name) =>
        button(name, () => this.onSelect({ interval: name }))));
    }
    for (const one of group.children) {
      const isShown = one.textContent === meta.interval;
      if (isShown && one.getAttribute("aria-pressed") !== "true") {
        one.scrollIntoView({ block: "nearest", inline: "center" });
      }
      mark(one, "aria-pressed", String(isShown));
    }
  }
}
