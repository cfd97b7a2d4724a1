/**
 * The recipient's page: read the link, show the share, claim it with the password, then show the files.
 *
 * The link's secret is kept only in this script's memory. It is removed from the address bar at once and never sent,
 * except by browsers without service workers for transfers that are not sealed. The browser's own history still has it
 * (docs/recipient-page.md).
 */

import { opened, takeAddress } from "./address.js";
import * as api from "./api.js";
import { metaContext, openedWhole } from "./chunked.js";
import { serviceNow } from "./clock.js";
import { fromBase64url, toBase64url } from "./encoding.js";
import { destroyed, followDestruction } from "./ending.js";
import { busy, showFiles } from "./files.js";
import { currentLanguage, speak, speaks } from "./language.js";
import { distinctPaths } from "./names.js";
import { readPassword } from "./password.js";
import { onPaste } from "./pasting.js";
import { begin, everything, forget, keep, keeps, recall } from "./remembered.js";
import { saver } from "./saving.js";
import { alone, byId, fill, notice, offerLanguages, put, show, status, viewOf } from "./view.js";
import { linkProof, openShare } from "./wrapping.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */
/** @typedef {import("./remembered.js").Kept} Kept */
/** @typedef {import("./remembered.js").KeptClaim} KeptClaim */
/** @typedef {{name?: unknown, path?: unknown, crc32: number | null}} Meta */

const ID_FORM = /^[A-Za-z0-9_-]{22}$/;
const CLAIM_WINDOW_MS = Number(document.body.dataset.window) * 1000;
const WATCH_EVERY_MS = 60_000;

/** @type {Record<string, string>} */
const VIEW_OF_STATE = {
  issued: "ready",
  claimed: "used",
  completed: "completed",
  lapsed: "lapsed",
  withdrawn: "withdrawn",
  locked: "locked",
  expired: "expired",
};
/** Refusals with a view of their own; other permanent ones are shown by their code. @type {Record<string, string>} */
const VIEW_OF_CODE = {
  share_not_found: "unknown",
  share_expired: "expired",
  offline: "offline",
  locked_down: "stopped",
  clock_not_trusted: "stopped",
  database_rolled_back: "stopped",
};
/** Refusals of a claim after which the share's state is shown. */
const ENDED = new Set(["share_used", "share_withdrawn", "share_expired", "share_locked", "share_not_found"]);

/** Of the address, then of a pasted link. */
let shareId = idOf(location.pathname);
/** `sent`: the secret went to the service, against the page's will. @type {{secret: Bytes, sealed: boolean, sent: boolean} | null} */
let link = null;
/** @type {Kept | null} */
let kept = null;
/** @type {Promise<ServiceWorker | null>} */
let worker = Promise.resolve(null);
/** Resolves once the page has shown its limits in this browser. */
let warned = Promise.resolve();
/** Whether stored records survive closing the tab. */
let keeping = true;
let expiresAt = "";
/** The link proof of the last link opened in this tab; it decrypts nothing. */
let proof = "";

// --- 1. the link

async function start() {
  if (shareId) show("loading"); // the bare address has a view of its own
  if (!speaks() && !(await speak(currentLanguage()))) return show("busy");
  void tidy();
  if (!shareId) return show("home");
  const answering = link && ID_FORM.test(shareId) ? asked(link) : null; // runs while the browser's records are read
  keeping = await keeps();
  kept = keeping ? await recall(shareId) : kept;
  if (kept?.claim) return resume(kept.claim);
  if (!link || !answering) return incomplete();
  return look(await answering);
}

/**
 * Use a link, of the address or pasted.
 * @param {{sealed: boolean, secret: string, sent?: boolean} | null} found
 */
function take(found) {
  if (found) link = { sealed: found.sealed, secret: fromBase64url(found.secret), sent: found.sent === true };
}

/** Say which part of the link is missing or damaged: the one before `#`, else the one after it. */
function incomplete() {
  put(byId("damaged"), ID_FORM.test(shareId) ? "incomplete_text" : "incomplete_id");
  show("incomplete");
}

/** @param {string} path */
function idOf(path) {
  return /^\/s\/([^/]*)/.exec(path)?.[1] ?? "";
}

// --- 2. the share

/** @param {{secret: Bytes}} shown */
async function asked({ secret }) {
  proof = await linkProof(secret);
  return api.look(shareId, proof);
}

/** @param {api.Answer} answer */
async function look(answer) {
  if (!answer.ok) return showRefusal(answer);
  const { state, label, recipient, files, size, expires_at, sealed, attempts_left, used_at } = answer.data;
  const name = state === "claimed" && kept ? "ready" : (VIEW_OF_STATE[state] ?? "busy");
  const when = state === "expired" ? expires_at : used_at;
  expiresAt = expires_at;
  if (link) link.sealed ||= sealed; // a sealed link stays sealed, whatever the service reports
  show(name, {
    count: files,
    size: { bytes: size },
    label: label ?? undefined,
    recipient: recipient ?? undefined,
    expires: new Date(expires_at),
    attempts: attempts_left,
    when: when && new Date(when),
  });
  if (name !== "ready") {
    destroyed(name, answer.data.destroyed_at, { shareId, proof });
    return forget(shareId);
  }
  byId("again").hidden = state !== "claimed";
  worker = saver();
  warned = warnWithoutWorker(sealed); // the password can be typed meanwhile
}

/** @param {api.Answer} answer */
function showRefusal(answer) {
  const unknown = isFinal(answer) ? "refused" : "busy";
  show(VIEW_OF_CODE[answer.code] ?? unknown, { code: answer.code });
}

/**
 * Return whether this is a permanent refusal by the service; its own failures, and a proxy's, may be temporary.
 * @param {api.Answer} answer
 */
function isFinal({ code, data }) {
  return code !== "" && data?.status < 500;
}

/**
 * Show what this browser cannot open, before the share is used.
 * @param {boolean} sealed
 */
async function warnWithoutWorker(sealed) {
  const limited = (await worker) === null && (sealed || !navigator.cookieEnabled);
  const exposed = sealed && link?.sent;
  put(byId("limits"), !keeping ? "keeps_nothing" : limited ? "no_worker" : exposed ? "secret_sent" : null);
}

/** Return whether the page decrypts the files; if not, the service does, and the browser downloads with a cookie. */
async function opensHere() {
  return (await worker) !== null || !keeping || !navigator.cookieEnabled;
}

// --- 3. the claim

const passwordField = /** @type {HTMLInputElement} */ (byId("password"));

byId("claim").addEventListener("submit", (event) => {
  event.preventDefault();
  void alone(claim);
});

async function claim() {
  const read = readPassword(passwordField.value);
  if ("problem" in read) return complain(read.problem, read.values);
  if (!link) return incomplete();
  complain(null);
  status("ready", "opening");
  const limits = byId("limits").textContent;
  await warned;
  if (byId("limits").textContent !== limits) return status("ready", null); // let it be read before the share is used
  kept = await begin(kept ?? (await firstTry()));
  if (kept.claim) return resume(kept.claim);
  const byProof = link.sealed || kept.byProof; // a sealed link's secret is never sent
  const proven = byProof ? { link_proof: await linkProof(link.secret) } : { link_secret: toBase64url(link.secret) };
  const answer = await api.claim(shareId, { ...proven, password: read.password, claim_token: kept.token });
  status("ready", null);
  if (answer.ok) return claimed(answer.data, link.secret);
  return refused(answer);
}

/**
 * Return the record of a first try. A retry uses the same token, so that it gets the same claim if a response was lost.
 * @returns {Promise<Kept>}
 */
async function firstTry() {
  const token = toBase64url(crypto.getRandomValues(new Uint8Array(32)));
  return { shareId, token, byProof: await opensHere(), until: Date.parse(expiresAt), claim: null };
}

/** @param {api.Answer} answer */
async function refused(answer) {
  const { code, data } = answer;
  if (ENDED.has(code) || data?.attempts_left === 0) {
    kept = null;
    await forget(shareId); // another claim won
    return start();
  }
  if (code === "wrong_password") {
    fill(viewOf("ready"), { attempts: data.attempts_left });
    complain("wrong_password", { count: data.attempts_left });
    return passwordField.select();
  }
  if (code === "offline") return complain("claim_offline");
  if (code in VIEW_OF_CODE || isFinal(answer)) return showRefusal(answer);
  return complain("claim_busy");
}

/**
 * Show an error at the password field; null clears it.
 * @param {string | null} key
 * @param {import("./language.js").Values} [values]
 */
function complain(key, values) {
  notice("ready", key, values);
  passwordField.setAttribute("aria-invalid", String(key !== null));
  if (key !== null) passwordField.focus();
}

/**
 * @param {any} answer
 * @param {Bytes} linkSecret
 */
async function claimed(answer, linkSecret) {
  passwordField.value = "";
  const { claim_id: id, transfer_id: transferId, expires_at, files, archive, server_part, wrapped_key } = answer;
  const key = server_part
    ? await openShare({
        linkSecret,
        serverPart: fromBase64url(server_part),
        wrappedKey: fromBase64url(wrapped_key),
        transferId,
        shareId,
      }).catch(() => null)
    : null;
  if (server_part && !key) return show("damaged");
  link = null;
  const stored = files.map((/** @type {any} */ file) => ({
    number: file.number,
    size: file.size,
    sealedSize: file.sealed_size,
    ...(key && { sealedMeta: file.sealed_meta }),
  }));
  const told = files.map((/** @type {any} */ { name, path }) => ({ name, path, crc32: null }));
  return open({ id, transferId, expiresAt: expires_at, files: stored, archive, key }, key ? null : told);
}

// --- 4. the files

/**
 * Show the files of a stored claim again, if it is still open.
 * @param {KeptClaim} claim
 */
async function resume(claim) {
  show("loading");
  proof ||= kept?.proof ?? "";
  worker = saver();
  const answer = await api.standing(claim.id, kept?.token ?? "");
  if (answer.gone) return end();
  if (!answer.ok) return showRefusal(answer);
  return open(claim, null);
}

/**
 * @param {KeptClaim} claim
 * @param {Meta[] | null} told names and folders, if the service sent them
 */
async function open(claim, told) {
  const metas = told ?? (await Promise.all(claim.files.map((file) => metaOf(claim, file))));
  const paths = distinctPaths(metas);
  const moved = async () => {
    if (!kept) return;
    const token = claim.key ? kept.token : ""; // otherwise the cookie, which scripts cannot read, is enough
    const until = Math.min(serviceNow() + CLAIM_WINDOW_MS, Date.parse(claim.expiresAt));
    kept = { ...kept, token, claim, until, proof };
    await keep(kept);
  };
  await moved();
  const holder = { claim, token: kept?.token ?? "", worker: await worker, keeping, moved, end };
  await showFiles(holder, metas.map(({ crc32 }, index) => ({ path: paths[index], crc32 })));
}

/**
 * @param {KeptClaim} claim
 * @param {import("./remembered.js").KeptFile} file
 * @returns {Promise<Meta>}
 */
async function metaOf(claim, file) {
  if (!claim.key || !file.sealedMeta) return { ...(await api.named(claim.id, file.number)), crc32: null };
  const context = metaContext(claim.transferId, file.number);
  try {
    const meta = await openedWhole(claim.key, context, fromBase64url(file.sealedMeta));
    const { name, path, crc32 } = JSON.parse(new TextDecoder().decode(meta));
    return { name, path, crc32: Number.isInteger(crc32) && crc32 >= 0 && crc32 < 2 ** 32 ? crc32 : null };
  } catch {
    return { name: undefined, crc32: null }; // the file is verified separately; it gets a default name
  }
}

/**
 * End the claim on this page: delete its record and show why, by the share's state if a link was opened in this tab.
 * @param {string} [view]
 */
async function end(view) {
  kept = null;
  await forget(shareId);
  const answer = view || !proof ? null : await api.look(shareId, proof);
  if (answer?.ok) return look(answer);
  show(view ?? "over");
  if (view === "done" && proof) followDestruction(view, { shareId, proof });
}

/** Ask the service whether the window has closed; a download by the browser itself extends it unnoticed. */
async function watch() {
  if (!kept?.claim || busy() || serviceNow() < kept.until) return;
  const { gone } = await api.standing(kept.claim.id, kept.token);
  if (gone && kept && !busy()) await end();
}

setInterval(() => void watch(), WATCH_EVERY_MS);

/** Delete stored records whose claim has ended according to the service, or that expired without its objection. */
async function tidy() {
  for (const { shareId, claim, token, until } of await everything()) {
    if (serviceNow() < until) continue;
    const answer = claim && (await api.standing(claim.id, token));
    const expired = !claim || serviceNow() >= Date.parse(claim.expiresAt);
    if (answer?.gone || (expired && !answer?.ok)) await forget(shareId);
  }
}

addEventListener("beforeunload", (event) => {
  if (busy() || (kept?.claim && !keeping)) event.preventDefault();
});

offerLanguages();

for (const button of document.querySelectorAll("[data-retry]")) {
  button.addEventListener("click", () => void alone(start));
}
onPaste((found) => {
  if (busy()) return;
  if ("shareId" in found && found.shareId !== shareId) {
    shareId = found.shareId;
    kept = null;
    proof = "";
  }
  take(found);
  history.replaceState(null, "", `/s/${shareId}${location.search}`);
  void alone(start);
});
addEventListener("hashchange", () => {
  take(takeAddress());
  if (!busy()) void alone(start); // opening a link again must not abort a running download
});
take(opened);
await alone(start);
