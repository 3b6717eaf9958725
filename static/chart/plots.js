/**
 * What a script draws: `plot(series, name, pane=...)` as columns of the series, `mark(text)` as notes
 * on candles. It comes candle by candle, with what the script said.
 */

import { named } from "../lib/i18n.js";

const PLOT = "plot:";
// Neither a pane's name nor a line's may hold it: both are one line of text.
const BETWEEN = "\n";
/** A candle's last words may come after the next one has begun. */
const TAIL = 3;

/**
 * The name of a column as people read it.
 * @param {string} column
 */
export function labelOf(column) {
  if (!column.startsWith(PLOT)) return named(`line.${column}`, column);
  return column.slice(column.indexOf(BETWEEN) + 1);
}

/** Keeps the plots and notes of a chart up to date with what its script said. */
export class Plots {
  /**
   * @param {import("./view.js").Chart} chart
   * @param {ReadonlyMap<number, any>} said  by open time
   */
  constructor(chart, said) {
    this.chart = chart;
    this.said = said;
    /** @type {import("./columns.js").Series | null} */
    this.series = null;
    this.first = 0;
    this.end = 0;
    /** @type {Map<number, string[]>} */
    this.notes = new Map();
  }

  /**
   * Take over what was said on candles that are new here, or may have changed.
   * @returns {boolean} whether lines or notes came for the first time
   */
  update() {
    const { series } = this.chart;
    if (this.said.size === 0) return false;
    const isKnown = series === this.series && series.first === this.first;
    const from = isKnown ? Math.max(series.first, this.end - TAIL) : series.first;
    if (!isKnown) this.notes = new Map();
    const before = [series.names.length, this.notes.size > 0];
    for (let i = from; i < series.end; i += 1) {
      const said = this.said.get(series.openMs[i]);
      if (said !== undefined) this.#take(i, said);
    }
    for (const pyramid of series.extremes.values()) pyramid.touch(from, series.end);
    this.series = series;
    this.first = series.first;
    this.end = series.end;
    this.chart.setNotes(this.notes);
    return before[0] !== series.names.length || before[1] !== this.notes.size > 0;
  }

  /**
   * @param {number} i
   * @param {any} said
   */
  #take(i, said) {
    for (const [name, pane, value] of said.plots) this.#column(name, pane)[i] = value ?? NaN;
    if (said.marks.length > 0) this.notes.set(i, said.marks);
    else this.notes.delete(i);
  }

  /**
   * @param {string} name
   * @param {string} pane
   */
  #column(name, pane) {
    const { series, plots } = this.chart;
    const key = PLOT + pane + BETWEEN + name;
    let column = series.columns[key];
    if (column === undefined) {
      column = new Float64Array(series.openMs.length).fill(NaN);
      series.columns[key] = column;
      series.names.push(key);
      plots.set(key, pane);
    }
    return column;
  }
}
