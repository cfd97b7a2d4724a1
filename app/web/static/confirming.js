/**
 * Asks before something that cannot be undone, in the page's one dialog.
 */

import { byId, part, put } from "./view.js";

/** @typedef {import("./language.js").Values} Values */
/** @typedef {{option: boolean} | null} Answer */

/** Answers the question that was asked last. @type {(answer: Answer) => void} */
let answer = () => {};

const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
const box = /** @type {HTMLInputElement} */ (byId("confirm-option"));

/**
 * Ask, and return the answer: null if the person does not want it, else whether the option was ticked.
 * @param {{title: string, text: string, yes: string, option?: string}} asked sentences by key
 * @param {Values} values
 * @returns {Promise<Answer>}
 */
export function confirmed({ title, text, yes, option }, values = {}) {
  answer(null); // the browser may not have reported yet that the question before was closed
  put(byId("confirm-title"), title, values);
  put(byId("confirm-text"), text, values);
  put(byId("confirm-yes"), yes, values);
  put(byId("confirm-option-text"), option ?? null, values);
  part(dialog, ".option").hidden = !option;
  box.checked = false;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    answer = resolve;
  });
}

dialog.addEventListener("close", () => {
  if (dialog.open) return; // this was the question before
  answer(dialog.returnValue === "yes" ? { option: box.checked } : null);
});
for (const choice of ["yes", "no"]) byId(`confirm-${choice}`).addEventListener("click", () => dialog.close(choice));
