/**
 * The end of a transfer as the service observed it: says when the files were destroyed, and offers the certificate.
 */

import * as api from "./api.js";
import { currentLanguage, sentence } from "./language.js";
import { saveFromMemory } from "./saving.js";
import { alone, fill, part, put, viewOf } from "./view.js";

/** @typedef {{shareId: string, proof: string}} Seen */

/** What the page says about a refused certificate, by the refusal's code. @type {Record<string, string>} */
const TROUBLE = { receipt_not_signed: "certificate_later", offline: "files_offline" };
const FIRST_ASK_MS = 1_000;
const LAST_ASK_MS = 60_000;

/** The share of the certificate that is offered. @type {Seen | null} */
let offered = null;

/**
 * Say in a view when the files were destroyed; nothing, if the service has not observed that.
 * @param {string} view
 * @param {string | undefined} at
 * @param {Seen} seen
 */
export function destroyed(view, at, seen) {
  const shown = viewOf(view);
  const box = shown.querySelector("[data-certificate]");
  if (!box) return;
  offered = seen;
  fill(shown, { destroyed: at ? new Date(at) : undefined });
  /** @type {HTMLElement} */ (box).hidden = !at;
  const pending = /** @type {HTMLElement | null} */ (shown.querySelector("[data-pending]"));
  if (pending) pending.hidden = Boolean(at);
}

/**
 * Ask until the files are destroyed, ever less often, while the view is shown.
 * @param {string} view
 * @param {Seen} seen
 * @param {number} [wait]
 */
export function followDestruction(view, seen, wait = FIRST_ASK_MS) {
  setTimeout(async () => {
    if (viewOf(view).hidden) return;
    const answer = document.hidden ? null : await api.look(seen.shareId, seen.proof);
    const at = answer?.ok ? answer.data.destroyed_at : undefined;
    if (viewOf(view).hidden) return;
    if (at) destroyed(view, at, seen);
    else followDestruction(view, seen, Math.min(LAST_ASK_MS, wait * 1.5));
  }, wait);
}

for (const box of document.querySelectorAll("[data-certificate]")) {
  const error = part(box, ".error");
  part(box, "button").addEventListener("click", () => void alone(() => save(error)));
}

/** @param {HTMLElement} error */
async function save(error) {
  if (!offered) return;
  put(error, null);
  const { page, code } = await api.certificate(offered.shareId, offered.proof, currentLanguage());
  if (page) return saveFromMemory(`${sentence("certificate_file")}-${offered.shareId}.html`, once(page));
  put(error, TROUBLE[code] ?? "files_busy");
}

/** @param {import("./encoding.js").Bytes} bytes */
async function* once(bytes) {
  yield bytes;
}
