/**
 * What the person sent: state, who has fetched it and when, time left; withdraw, issue again, delete, certificate.
 */

import { serviceNow } from "./clock.js";
import { confirmed } from "./confirming.js";
import { currentLanguage } from "./language.js";
import { shown } from "./rules.js";
import { deleteTransfer, withdraw } from "./sealed-transfer.js";
import { askJson, Cut, Refused } from "./session.js";
import { byId, copyOf, notice, part, put, status, viewOf } from "./view.js";

/** @typedef {import("./kept.js").KeptTransfer} KeptTransfer */
/**
 * @typedef {{id: string, recipient: string | null, state: string, used_at: string | null, ended_at: string | null}} Shared
 * @typedef {{id: string, state: string, ending: string | null, sealed: boolean, label: string | null, created_at: string,
 *   expires_at: string, deleted_at: string | null, size: number, files: object[], shares: Shared[]}} Listed
 */

const PAGE = 25;
const PAGE_WHILE_SEARCHING = 500;
const DRAWN_AT_MOST = 200;
const SOON_MS = 24 * 3_600_000;
const OPEN = new Set(["receiving", "live"]);
const WAITING = new Set(["prepared", "issued"]);
const TAKEN = new Set(["completed", "claimed"]);
const FETCHED = new Set(["completed", "claimed", "lapsed"]);

/** @type {Record<string, string>} */
const SENTENCE_OF_SHARE = {
  prepared: "state_prepared",
  issued: "state_issued",
  claimed: "state_claimed",
  completed: "state_completed",
  lapsed: "state_lapsed",
  withdrawn: "state_withdrawn",
  locked: "state_locked",
  expired: "state_expired",
};

/** @type {Listed[]} */
let listed = [];
/** @type {string | null} */
let next = null;
/** Counts how often the list was begun: an older answer must not be added to a newer list. */
let round = 0;
/** The round in which a page is being read: the same page must not be read and added twice. */
let reading = 0;
/** @type {Map<string, KeptTransfer>} */
let kept = new Map();
/** @type {{keeper: import("./kept.js").Keeper, again: (kept: KeptTransfer, recipient: string) => Promise<boolean>} | null} */
let hooks = null;

/**
 * @param {import("./kept.js").Keeper} keeper
 * @param {(kept: KeptTransfer, recipient: string) => Promise<boolean>} again issues a share and shows it;
 *   false if it did not
 */
export function onSent(keeper, again) {
  hooks = { keeper, again };
}

/** Read the list from its beginning and show it. */
export async function showSent() {
  round += 1;
  listed = [];
  next = "";
  kept = new Map((await hooks?.keeper.all())?.map((each) => [each.id, each]));
  await more(PAGE);
}

/**
 * Read the next page; while a filter is set, all of them, because it covers everything that was sent.
 * @param {number} limit
 */
async function more(limit) {
  if (reading === round || next === null) return;
  const began = (reading = round);
  byId("more").hidden = true;
  byId("transfers").setAttribute("aria-busy", "true");
  status("sent", "sent_loading");
  try {
    for (let size = limit; reading === began; size = PAGE_WHILE_SEARCHING) {
      const page = await askJson(`/api/v1/transfers?limit=${size}${next ? `&after=${next}` : ""}`);
      if (began !== round) return;
      listed.push(...page.transfers);
      next = page.next;
      if (next === null || !isFiltered()) reading = 0;
      notice("sent", null);
      if (reading === 0 || byId("transfers").childElementCount < DRAWN_AT_MOST) draw(); // earlier ones come behind these
    }
  } catch (error) {
    if (began !== round) return;
    reading = 0;
    draw();
    status("sent", null);
    complain(error);
  }
}

/** @param {unknown} error */
function complain(error) {
  if (error instanceof Refused) return notice("sent", "refused", { detail: error.detail, code: error.code });
  if (error instanceof Cut) return notice("sent", "sent_cut");
  throw error;
}

function wanted() {
  const text = /** @type {HTMLInputElement} */ (byId("search")).value.trim().toLowerCase();
  const state = /** @type {HTMLSelectElement} */ (byId("show")).value;
  return { text, state };
}

function isFiltered() {
  const { text, state } = wanted();
  return text !== "" || state !== "all";
}

/** @param {Listed} transfer */
function matches(transfer) {
  const { text, state } = wanted();
  const names = kept.get(transfer.id)?.files.map(shown) ?? [];
  const words = [transfer.label ?? "", ...transfer.shares.map(({ recipient }) => recipient ?? ""), ...names];
  if (text && !words.some((word) => word.toLowerCase().includes(text))) return false;
  const isOpen = OPEN.has(transfer.state);
  if (state === "waiting") return isOpen && transfer.shares.some((share) => WAITING.has(share.state));
  if (state === "due") return isDue(transfer);
  if (state === "fetched") return transfer.shares.some((share) => FETCHED.has(share.state));
  return state === "all" || (state === "ended") === !isOpen;
}

/**
 * Return whether somebody has not fetched and the transfer ends within a day.
 * @param {Listed} transfer
 */
function isDue(transfer) {
  const isSoon = Date.parse(transfer.expires_at) - serviceNow() < SOON_MS;
  return OPEN.has(transfer.state) && isSoon && transfer.shares.some((share) => WAITING.has(share.state));
}

function draw() {
  const found = listed.filter(matches);
  const focused = focusedControl();
  byId("transfers").replaceChildren(...found.slice(0, DRAWN_AT_MOST).map(row));
  if (focused) focusAgain(focused);
  byId("more").hidden = next === null || isFiltered() || reading === round;
  byId("transfers").setAttribute("aria-busy", String(reading === round));
  if (reading !== round) tellCount(found.length);
}

/** Return which control of the list has the focus: its kind, and the id of what it belongs to. */
function focusedControl() {
  const element = document.activeElement;
  const of = element?.getAttribute("aria-describedby");
  return element && of && byId("transfers").contains(element) ? { kind: element.classList[element.classList.length - 1], of } : null;
}

/**
 * Focus a control that was drawn again; one that is gone, what it belonged to; and if that is gone, the heading.
 * @param {{kind: string, of: string}} focused
 */
function focusAgain({ kind, of }) {
  const control = document.querySelector(`[aria-describedby="${of}"].${kind}:not([hidden])`);
  const place = control ?? byId(of)?.closest(".share, h2") ?? part(viewOf("sent"), "h1");
  if (!control) place.setAttribute("tabindex", "-1");
  /** @type {HTMLElement} */ (place).focus();
}

/**
 * Say how many transfers are shown, and whether these are all.
 * @param {number} count
 */
function tellCount(count) {
  const none = isFiltered() ? "sent_no_match" : "sent_none";
  const all = count > 0 ? "sent_count" : none;
  const few = next !== null ? "sent_latest" : all;
  status("sent", count > DRAWN_AT_MOST ? "sent_many" : few, { count, shown: DRAWN_AT_MOST });
}

/** @param {Listed} transfer */
function row(transfer) {
  const item = copyOf("transfer-row");
  const isOpen = OPEN.has(transfer.state);
  const title = part(item, "h2");
  title.id = `transfer-${transfer.id}`;
  if (transfer.label) part(title, "bdi").textContent = transfer.label;
  else put(part(title, "bdi"), "no_subject");
  const isUnfinished = isOpen && transfer.shares.length === 0;
  put(part(item, ".sent-at"), isUnfinished ? "sent_unfinished" : "sent_at", { when: { day: new Date(transfer.created_at) } });
  put(part(item, ".sent-size"), "chosen_sum", { count: transfer.files.length, size: { bytes: transfer.size } });
  const local = kept.get(transfer.id);
  part(item, ".sent-names").textContent = local ? local.files.slice(0, 5).map(shown).join(", ") : "";
  tellTime(part(item, ".sent-until"), transfer, isOpen);
  part(item, ".due").hidden = !isDue(transfer);
  part(item, ".elsewhere").hidden = !isOpen || Boolean(local) || transfer.shares.every((share) => TAKEN.has(share.state));
  part(item, ".shares").replaceChildren(...transfer.shares.map((share) => shareRow(transfer, share)));
  const remove = part(item, ".delete");
  remove.hidden = !isOpen;
  remove.setAttribute("aria-describedby", title.id);
  remove.addEventListener("click", () => void act(deleteNow(transfer)));
  const certificate = /** @type {HTMLAnchorElement} */ (part(item, ".certificate"));
  certificate.hidden = transfer.deleted_at === null;
  certificate.href = `/api/v1/transfers/${transfer.id}/receipt?lang=${currentLanguage()}`;
  certificate.setAttribute("aria-describedby", title.id);
  return item;
}

/**
 * @param {HTMLElement} element
 * @param {Listed} transfer
 * @param {boolean} isOpen
 */
function tellTime(element, transfer, isOpen) {
  const left = (Date.parse(transfer.expires_at) - serviceNow()) / 1000;
  if (transfer.deleted_at) return put(element, "sent_destroyed", { when: { day: new Date(transfer.deleted_at) } });
  if (!isOpen) return put(element, "sent_ended");
  return put(element, "sent_left", { left: { seconds: Math.max(0, left) }, when: { day: new Date(transfer.expires_at) } });
}

/**
 * @param {Listed} transfer
 * @param {Shared} share
 */
function shareRow(transfer, share) {
  const item = copyOf("share-row");
  const name = part(item, ".recipient");
  name.id = `share-${share.id}`;
  if (share.recipient) name.textContent = share.recipient;
  else put(name, "recipient_forgotten");
  const when = share.used_at ?? share.ended_at;
  put(part(item, ".share-state"), SENTENCE_OF_SHARE[share.state] ?? "state_prepared", { when: when && { day: new Date(when) } });
  const isOpen = OPEN.has(transfer.state);
  const stop = part(item, ".withdraw");
  stop.hidden = !isOpen || !(WAITING.has(share.state) || share.state === "claimed");
  const local = kept.get(transfer.id);
  const reissue = part(item, ".again");
  reissue.hidden = !isOpen || !local || local.unfinished || share.state === "completed" || !share.recipient;
  for (const button of [stop, reissue]) button.setAttribute("aria-describedby", name.id);
  stop.addEventListener("click", () => void act(withdrawShare(share)));
  reissue.addEventListener("click", () => local && void act(issueAgain(local, share)));
  return item;
}

/** @param {Promise<boolean>} action true if the list is to be read again */
async function act(action) {
  try {
    if (await action) await showSent();
  } catch (error) {
    complain(error);
  }
}

/** @param {Listed} transfer */
async function deleteNow(transfer) {
  const asked = { title: "delete_title", text: "delete_text", yes: "delete_yes" };
  if (!(await confirmed(asked, { name: transfer.label ?? "" }))) return false;
  await deleteTransfer(transfer.id, "other");
  await hooks?.keeper.forget(transfer.id);
  return true;
}

/** @param {Shared} share */
async function withdrawShare(share) {
  const asked = { title: "withdraw_title", text: "withdraw_text", yes: "withdraw_yes" };
  if (!(await confirmed(asked, { name: share.recipient ?? "" }))) return false;
  await withdraw(share.id, "other");
  return true;
}

/**
 * Issue another share for the same recipient, and withdraw the first if it is still open.
 * @param {KeptTransfer} local
 * @param {Shared} share
 */
async function issueAgain(local, share) {
  const asked = { title: "again_title", text: "again_text", yes: "again_yes" };
  if (!(await confirmed(asked, { name: share.recipient ?? "" }))) return false;
  if (!(await hooks?.again(local, share.recipient ?? ""))) return false;
  // Only now: without an open share, a transfer that others have fetched is deleted at once.
  if (WAITING.has(share.state) || share.state === "claimed") await withdraw(share.id, "other");
  return false;
}

/**
 * Forget everybody's transfers that have expired, and the person's that have ended otherwise.
 * @param {import("./kept.js").Keeper} keeper
 */
export async function tidy(keeper) {
  await keeper.forgetExpired(serviceNow());
  for (const { id } of await keeper.all()) if (await hasEnded(id)) await keeper.forget(id);
}

/** @param {string} id */
async function hasEnded(id) {
  try {
    return !OPEN.has((await askJson(`/api/v1/transfers/${id}`)).state);
  } catch (error) {
    return error instanceof Refused && error.status === 404;
  }
}

byId("more").addEventListener("click", () => void more(PAGE));
for (const id of ["search", "show"]) {
  byId(id).addEventListener("input", () => {
    draw();
    if (isFiltered() && next !== null) void more(PAGE_WHILE_SEARCHING);
  });
}
