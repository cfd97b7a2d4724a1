/**
 * Shows links and passwords, once: per recipient a text to mail with the link, and apart from it the password, each with
 * a button that copies it. Nothing of this is kept.
 */

import { byId, copyOf, part, put, status } from "./view.js";

/** @typedef {import("./sealed-transfer.js").Share} Share */

/** What the person has not copied yet. @type {Set<string>} */
const left = new Set();

/** Return whether leaving would lose a link or a password. */
export function isLeft() {
  return left.size > 0;
}

/** @param {Share[]} shares */
export function showShares(shares) {
  left.clear();
  byId("shares").replaceChildren(...shares.map(card));
}

export function forgetShares() {
  left.clear();
  byId("shares").replaceChildren();
}

/**
 * @param {Share} share
 * @param {number} index
 */
function card({ recipient, link, password, mail, expiresAt }, index) {
  const item = copyOf("share-card");
  const title = part(item, "h2");
  title.id = `share-${index}`;
  part(title, "bdi").textContent = recipient;
  const text = /** @type {HTMLTextAreaElement} */ (part(item, "textarea"));
  text.value = mail ?? link;
  text.rows = Math.min(9, (mail ?? link).split("\n").length + 2);
  text.setAttribute("aria-labelledby", `${title.id} mail-${index}`);
  part(item, ".mail-title").id = `mail-${index}`;
  part(item, ".password").textContent = password;
  put(part(item, ".until"), "link_until", { when: new Date(expiresAt) });
  const link_left = `link ${index}`;
  const password_left = `password ${index}`;
  left.add(link_left).add(password_left);
  const [all, alone, secret] = ["copy-mail", "copy-link", "copy-password"].map((name) => part(item, `.${name}`));
  if (mail === null) all.hidden = true;
  for (const button of [all, alone, secret]) button.setAttribute("aria-describedby", title.id);
  all.addEventListener("click", () => void copy(all, text.value, link_left));
  alone.addEventListener("click", () => void copy(alone, link, link_left));
  secret.addEventListener("click", () => void copy(secret, password, password_left));
  // Selected and copied by hand, or read out from the screen.
  text.addEventListener("copy", () => left.delete(link_left));
  part(item, ".password").addEventListener("copy", () => left.delete(password_left));
  return item;
}

/**
 * @param {HTMLElement} button
 * @param {string} text
 * @param {string} what
 */
async function copy(button, text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return status("handover", "copy_refused");
  }
  left.delete(what);
  button.toggleAttribute("data-copied", true); // to stay: between two copies the person works elsewhere
  status("handover", null);
  status("handover", "copied");
}
