/** The candles in view as a table, the newest ones first, for who cannot see or point. */

import { valueText } from "../chart/a11y.js";
import { labelOf } from "../chart/plots.js";
import { make } from "../lib/dom.js";
import { compact, percent, price } from "../lib/format.js";
import { counted, text } from "../lib/i18n.js";
import { candleTime, zoneName } from "../lib/zone.js";

const MOST_ROWS = 50;
const COLUMNS = ["open", "high", "low", "close", "change", "volume"];

/**
 * @param {HTMLElement} box
 * @param {import("../chart/view.js").Chart} chart
 */
export function showTable(box, chart) {
  const { series, decimals } = chart;
  const end = Math.min(series.end, chart.visible()[1]);
  const first = Math.max(series.first, end - MOST_ROWS);
  const panes = chart.paint?.panes ?? [];
  const lines = panes.flatMap((pane) => pane.lines.map((line) => ({ pane, line })));
  const head = [text("table.time", { zone: zoneName(chart.shownZone) }),
    ...COLUMNS.map((name) => text(`table.${name}`)), ...lines.map(({ line }) => labelOf(line))];
  const rows = [];
  for (let i = end - 1; i >= first; i -= 1) {
    const before = i > series.first ? series.close[i - 1] : series.open[i];
    const cells = [
      ...[series.open, series.high, series.low, series.close].map((column) => price(column[i], decimals)),
      percent(series.close[i] / before - 1),
      compact(series.volume[i]),
      ...lines.map(({ pane, line }) => valueText(pane, series.columns[line][i])),
    ];
    rows.push(make("tr", {},
      make("th", { scope: "row", text: candleTime(chart, i) }),
      ...cells.map((cell) => make("td", { text: cell, className: "number" }))));
  }
  const time = end > first ? candleTime(chart, end - 1) : "–";
  const scrolled = box.scrollTop;
  box.replaceChildren(make("table", {},
    make("caption", { text: counted("table.caption", end - first, { time }) }),
    make("thead", {}, make("tr", {}, ...head.map((title) => make("th", { scope: "col", text: title })))),
    make("tbody", {}, ...rows)));
  box.scrollTop = scrolled;
}
