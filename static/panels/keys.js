/** What the keys do in the chart. */

import { make } from "../lib/dom.js";
import { text } from "../lib/i18n.js";
import { openDialog } from "./dialog.js";

/**
 * Keys and what they do; names of keys that differ between keyboards are texts too.
 * @type {[string, string][]}
 */
const KEYS = [
  ["← →", "keys.step"], ["key.shift + ← →", "keys.pan"], ["key.page ↑ ↓", "keys.page"],
  ["+ − ↑ ↓", "keys.zoom"], ["key.ends", "keys.ends"], ["F", "keys.fit"], ["L", "keys.live"],
  ["P V R M S", "keys.panes"],
  ["key.shift + ↑ ↓", "keys.scale"], ["A", "keys.auto"], ["G", "keys.log"], ["T", "keys.table"],
  ["Esc", "keys.leave"], ["?", "keys.help"],
];

export function openKeys() {
  const rows = KEYS.flatMap(([keys, key]) => [
    make("dt", {}, make("kbd", { text: keys.replace(/key\.\w+/, (name) => text(name)) })),
    make("dd", { text: text(key) }),
  ]);
  openDialog("keys-dialog", text("keys.title"), make("dl", { className: "keys-list" }, ...rows));
}
