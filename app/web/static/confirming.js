/**
 * Asks before something that cannot be undone, in the page's one dialog.
 */

import { byId, part, put } from "./view.js";

/** @typedef {import("./language.js").Values} Values */

/**
 * Ask, and return the answer: null if the person does not want it, else whether the option was ticked.
 * @param {{title: string, text: string, yes: string, option?: string}} asked sentences by key
 * @param {Values} values
 * @returns {Promise<{option: boolean} | null>}
 */
export function confirmed({ title, text, yes, option }, values = {}) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
  const box = /** @type {HTMLInputElement} */ (byId("confirm-option"));
  put(byId("confirm-title"), title, values);
  put(byId("confirm-text"), text, values);
  put(byId("confirm-yes"), yes, values);
  put(byId("confirm-option-text"), option ?? null, values);
  part(dialog, ".option").hidden = !option;
  box.checked = false;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? { option: box.checked } : null), { once: true });
  });
}

for (const answer of ["yes", "no"]) {
  byId(`confirm-${answer}`).addEventListener("click", () => {
    /** @type {HTMLDialogElement} */ (byId("confirm")).close(answer);
  });
}
