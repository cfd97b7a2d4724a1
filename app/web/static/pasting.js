/**
 * The field for a pasted link, in every view whose reader lacks a complete one.
 */

import { damagedPart, readLink, readSecret } from "./link.js";
import { part, put } from "./view.js";

/** @typedef {import("./link.js").FoundLink} FoundLink */

const COMPLAINT = { none: "paste_none", id: "incomplete_id", secret: "paste_cut" };

/**
 * Call `use` with each link that is pasted and opened; with the secret alone if only that was pasted on a link's page.
 * @param {(found: FoundLink | {sealed: boolean, secret: string}) => void} use
 */
export function onPaste(use) {
  for (const form of /** @type {NodeListOf<HTMLFormElement>} */ (document.querySelectorAll("[data-paste]"))) {
    const field = /** @type {HTMLTextAreaElement} */ (part(form, "textarea"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = field.value;
      const found = readLink(text) ?? (location.pathname.startsWith("/s/") ? readSecret(text) : null);
      if (!found) return complain(form, COMPLAINT[damagedPart(text)]);
      if ("origin" in found && found.origin !== location.origin) return complain(form, "paste_elsewhere", String(found.origin));
      field.value = ""; // it holds the secret
      complain(form, null);
      return use(found);
    });
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      form.requestSubmit();
    });
  }
}

/**
 * @param {HTMLFormElement} form
 * @param {string | null} key null clears the error
 * @param {string} [address]
 */
function complain(form, key, address) {
  const field = part(form, "textarea");
  put(part(form, ".error"), key, { address });
  field.setAttribute("aria-invalid", String(key !== null));
  if (key !== null) field.focus();
}
