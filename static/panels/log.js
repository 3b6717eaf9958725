/** The newest lines of the log. Its texts come from the engine, in English, or from the script. */

import { make } from "../lib/dom.js";
import { named, text } from "../lib/i18n.js";
import { clockTime } from "../lib/zone.js";

/**
 * @param {HTMLElement} list
 * @param {any[]} lines  oldest first
 * @param {string} zone
 */
export function showLog(list, lines, zone) {
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
  if (lines.length === 0) {
    list.replaceChildren(make("li", { className: "empty", text: text("log.none") }));
    return;
  }
  list.replaceChildren(...lines.map((line) => {
    const time = make("time", { text: clockTime(Date.parse(line.time), zone), datetime: line.time });
    const item = make("li", { "data-kind": line.kind }, time);
    const loud = named(`log.${line.kind}`, "");
    if (loud !== "") item.append(make("b", { text: `${loud}: ` }));
    item.append(line.text);
    return item;
  }));
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}
