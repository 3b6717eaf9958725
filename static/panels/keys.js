/** What the keys do in the chart. */

import { make } from "../lib/dom.js";
import { text } from "../lib/i18n.js";
import { openDialog } from "./dialog.js";

/** @type {[string, string][]} */
const KEYS = [
  ["← →", "keys.step"], ["Shift + ← →", "keys.pan"], ["Page ↑ ↓", "keys.page"], ["+ − ↑ ↓", "keys.zoom"],
  ["Home End", "keys.ends"], ["F", "keys.fit"], ["L", "keys.live"], ["P V R M S", "keys.panes"],
  ["Shift + ↑ ↓", "keys.scale"], ["A", "keys.auto"], ["G", "keys.log"], ["T", "keys.table"],
  ["Esc", "keys.leave"], ["?", "keys.help"],
];

export function openKeys() {
  const rows = KEYS.flatMap(([keys, key]) => [
    make("dt", {}, make("kbd", { text: keys })),
    make("dd", { text: text(key) }),
  ]);
  openDialog("keys-dialog", text("keys.title"), make("dl", { className: "keys-list" }, ...rows));
}
