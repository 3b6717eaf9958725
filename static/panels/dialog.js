/** A box over the page: closed by its button, by Escape, or by a click beside it. */

import { button, make } from "../lib/dom.js";
import { text } from "../lib/i18n.js";

/**
 * Show a dialog; it is gone when it is closed.
 * @param {string} name
 * @param {string} title
 * @param {...Node} content
 */
export function openDialog(name, title, ...content) {
  const heading = make("h2", { id: `${name}-title`, text: title });
  const close = button("✕", () => dialog.close(), { className: "icon", "aria-label": text("settings.close") });
  const dialog = /** @type {HTMLDialogElement} */ (make("dialog", {
    id: name, className: "dialog", "aria-labelledby": heading.id,
  }, make("div", { className: "dialog-body" }, make("header", {}, heading, close), ...content)));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
