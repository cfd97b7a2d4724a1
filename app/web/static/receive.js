/**
 * The recipient's page: read the link, look at the share, claim it with the password, hand out the files, say that all
 * has arrived. The file reads in that order.
 *
 * Every sentence stands in the page, in the reader's language; this script shows and fills them, and builds no markup.
 *
 * What a tab must remember to survive a lost answer or a reload lies in its sessionStorage: before the claim, the
 * link's secret and the claim token chosen here; after it, the claim's id and its files. The right to fetch is then
 * the claim's HttpOnly cookie.
 */

const LANGUAGE = document.documentElement.lang;
/** The reader's own variety of the page's language, for dates and numbers. */
const LOCALE = navigator.languages.find((tag) => tag.split("-")[0] === LANGUAGE) ?? LANGUAGE;
const SHARE_ID = location.pathname.split("/").at(-1);
const ID_FORM = /^[A-Za-z0-9_-]{22}$/;
const SECRET_FORM = /^[A-Za-z0-9_-]{43}$/;
const SEALED_PREFIX = "sealed.";
const ANSWER_WITHIN_MS = 60_000;

/** What the password may be written with and is dropped: as `normalise` in app/crypto/password.py. */
const FILLER = /[\s\p{Z}\p{Pd}\p{Cf}\u2212]/gu;
const PASSWORD_CHARS = 16;
const CROCKFORD = /^[0-9A-HJKMNP-TV-Z]$/;

const VIEW_OF_STATE = {
  issued: "ready",
  claimed: "used",
  completed: "used",
  lapsed: "used",
  withdrawn: "withdrawn",
  locked: "locked",
  expired: "expired",
};
const VIEW_OF_CODE = { share_not_found: "unknown", share_expired: "expired", offline: "offline" };
/** Refusals of a claim after which a look tells more. */
const ENDED = new Set([
  "share_used",
  "share_withdrawn",
  "share_expired",
  "share_locked",
  "share_not_found",
  "transfer_is_sealed",
]);

let memory = {};

// --- 1. the link

async function start() {
  const fragment = takeFragment();
  memory = recall();
  if (memory.claim) return resume(memory.claim);
  if (memory.end) return show(memory.end);
  if (fragment.startsWith(SEALED_PREFIX)) return show("sealed");
  if (fragment && !SECRET_FORM.test(fragment)) return show("incomplete");
  if (fragment && fragment !== memory.secret) remember({ secret: fragment });
  if (!memory.secret) return show("incomplete");
  if (!ID_FORM.test(SHARE_ID)) return show("unknown");
  return look();
}

/** The link's fragment, taken out of the address bar and the history. Mail programs add a full stop or a bracket. */
function takeFragment() {
  const fragment = location.hash.slice(1).replace(/[^A-Za-z0-9_-]+$/, "");
  if (location.hash) history.replaceState(null, "", location.pathname);
  return fragment;
}

// --- 2. the look

async function look() {
  show("loading");
  const answer = await post(`/api/v1/shares/${SHARE_ID}/look`, { link_proof: await linkProof(memory.secret) });
  if (!answer.ok) return show(VIEW_OF_CODE[answer.code] ?? "busy");
  const seen = answer.data;
  const name = viewToShow(seen);
  const view = show(name, {
    again: seen.state === "claimed" && " ",
    label: seen.label,
    expires: moment(seen.expires_at),
    attempts: String(seen.attempts_left),
    when: seen.state === "expired" ? moment(seen.expires_at) : seen.used_at && moment(seen.used_at),
  });
  if (name === "ready" && !navigator.cookieEnabled) {
    notice(view, "no_cookies");
    view.querySelector("[type=submit]").disabled = true;
  }
}

/** The state's view. A share claimed while this tab holds a token was claimed by this tab, as far as it can know. */
function viewToShow({ state, sealed }) {
  if (state === "claimed" && memory.token) return "ready";
  if (state === "issued" && sealed) return "sealed";
  return VIEW_OF_STATE[state] ?? "busy";
}

/** What proves the link without giving its secret away (design, section 4). */
async function linkProof(secret) {
  const key = await crypto.subtle.importKey("raw", fromBase64url(secret), "HKDF", false, ["deriveBits"]);
  const info = new TextEncoder().encode("caducee/v1 link proof");
  const parameters = { name: "HKDF", hash: "SHA-512", salt: new Uint8Array(), info };
  return toBase64url(new Uint8Array(await crypto.subtle.deriveBits(parameters, key, 256)));
}

// --- 3. the claim

const claimForm = document.getElementById("claim");
const passwordField = document.getElementById("password");

claimForm.addEventListener("submit", (event) => {
  event.preventDefault();
  alone(claim);
});
passwordField.addEventListener("input", () => complain(null));

async function claim() {
  const password = checkedPassword(passwordField.value);
  if (password === null) return;
  // Chosen and kept before the first try: if the answer is lost, the same claim gets it again.
  remember({ token: memory.token ?? toBase64url(crypto.getRandomValues(new Uint8Array(32))) });
  complain(null);
  status("ready", "opening");
  const body = { link_secret: memory.secret, password, claim_token: memory.token };
  const answer = await post(`/api/v1/shares/${SHARE_ID}/claim`, body);
  status("ready", null);
  if (answer.ok) return claimed(answer.data);
  if (ENDED.has(answer.code) || answer.data?.attempts_left === 0) {
    remember({ token: undefined }); // it was not ours that won
    return look();
  }
  if (answer.code === "wrong_password") return refused(answer.data.attempts_left);
  return complain(answer.code === "offline" ? "claim_offline" : "claim_busy");
}

/** The password in its one spelling, or null once the reader was told what is wrong with it. */
function checkedPassword(typed) {
  const kept = typed.replace(FILLER, "");
  // Before toUpperCase, which makes ASCII letters of some foreign ones.
  const ascii = [...kept].map((character) => (character <= "\x7e" ? character.toUpperCase() : character));
  const read = ascii.map((character) => ({ O: "0", I: "1", L: "1" })[character] ?? character);
  const alien = read.findIndex((character) => !CROCKFORD.test(character));
  if (!kept) complain("password_empty");
  else if (alien >= 0) complain("password_alien", { character: [...kept][alien] });
  else if (read.length !== PASSWORD_CHARS) complain("password_length", { typed: String(read.length) });
  else return read.join("");
  return null;
}

function refused(attemptsLeft) {
  fill(viewOf("ready"), { attempts: String(attemptsLeft) });
  complain("wrong_password", { count: attemptsLeft });
  passwordField.select();
}

/** Say what is wrong with the password, at its field; null takes it back. */
function complain(name, values) {
  notice(viewOf("ready"), name, values);
  passwordField.setAttribute("aria-invalid", String(name !== null));
  if (name !== null) passwordField.focus();
}

function claimed(answer) {
  passwordField.value = "";
  const files = answer.files.map(({ number, size, name }) => ({ number, size, name, started: false }));
  forget();
  remember({ claim: { id: answer.claim_id, expires_at: answer.expires_at, files } });
  showFiles(memory.claim);
}

// --- 4. the files

const fileList = document.getElementById("files");
const fileTemplate = document.getElementById("file");

/** After a reload: the files again, if the claim still stands. */
async function resume({ id, expires_at, files }) {
  show("loading");
  const answer = await head(fileUrl(id, files[0].number));
  if (answer.gone) return end("over");
  showFiles({ id, expires_at, files });
  if (!answer.ok) notice(viewOf("files"), trouble(answer));
}

function showFiles({ id, expires_at, files }) {
  fileList.replaceChildren(...files.map((file) => fileRow(id, file)));
  askToConfirm(false);
  show("files", { expires: moment(expires_at) });
}

function fileRow(claimId, file) {
  const row = fileTemplate.content.cloneNode(true);
  const link = row.querySelector("a");
  link.href = fileUrl(claimId, file.number);
  fill(row, { name: file.name, size: bytes(file.size) });
  markStarted(link, file.started);
  link.addEventListener("click", () => fetching(link, file));
  return row;
}

/** The browser downloads by itself; beside that, ask whether it can, since a refusal would not be seen in the page. */
async function fetching(link, file) {
  const answer = await head(link.href);
  if (!answer.ok) {
    status("files", null);
    return notice(viewOf("files"), trouble(answer));
  }
  file.started = true;
  remember({ claim: memory.claim });
  markStarted(link, true);
  notice(viewOf("files"), null);
  status("files", "download_started", { name: file.name });
}

/** The sentence for a file that cannot be had. */
function trouble({ code, gone }) {
  if (gone) return "files_refused";
  return code === "offline" ? "files_offline" : "files_busy";
}

function markStarted(link, started) {
  link.querySelector(".file-started").hidden = !started;
}

function fileUrl(claimId, number) {
  return `/api/v1/claims/${claimId}/files/${number}`;
}

// --- 5. the end

const finishButton = document.getElementById("finish");
const confirmPanel = document.getElementById("confirm");

finishButton.addEventListener("click", () => {
  askToConfirm(true);
  document.getElementById("confirm-title").focus();
});
document.getElementById("confirm-no").addEventListener("click", stepBack);
document.getElementById("confirm-yes").addEventListener("click", () => alone(complete));
confirmPanel.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stepBack();
});

function askToConfirm(asked) {
  const missing = memory.claim.files.filter((file) => !file.started).length;
  const told = missing ? sentence("confirm_missing", { count: missing }) : [];
  document.getElementById("missing").replaceChildren(...told);
  confirmPanel.hidden = !asked;
  finishButton.hidden = asked;
  finishButton.setAttribute("aria-expanded", String(asked));
}

function stepBack() {
  askToConfirm(false);
  finishButton.focus();
}

async function complete() {
  notice(viewOf("files"), null);
  status("files", "deleting");
  const answer = await post(`/api/v1/claims/${memory.claim.id}/complete`);
  status("files", null);
  if (answer.ok) return end("done");
  if (answer.code === "claim_not_found") return end("over");
  return notice(viewOf("files"), trouble(answer));
}

/** Nothing more can be fetched here: forget the files, remember why for a reload. */
function end(view) {
  forget();
  remember({ end: view });
  show(view);
}

// --- what the page shows

function viewOf(name) {
  return document.querySelector(`[data-view="${name}"]`);
}

/** Show one state of the page, and let its heading be read out. */
function show(name, values = {}) {
  for (const view of document.querySelectorAll("[data-view]")) view.hidden = view.dataset.view !== name;
  const view = viewOf(name);
  fill(view, values);
  for (const part of view.querySelectorAll("[data-optional]")) part.hidden = !values[part.dataset.optional];
  if (name !== "loading") view.querySelector("h1").focus({ preventScroll: true });
  return view;
}

function fill(part, values) {
  for (const slot of part.querySelectorAll("[data-slot]")) {
    const value = values[slot.dataset.slot];
    if (value !== undefined) slot.textContent = value ?? "";
  }
}

/** The nodes of a sentence from the page; with a `count`, of its singular or plural. */
function sentence(name, values = {}) {
  const plural = "count" in values ? `_${new Intl.PluralRules(LANGUAGE).select(values.count)}` : "";
  const source = document.getElementById("notices").content.querySelector(`[data-text="${name}${plural}"]`);
  const copy = source.cloneNode(true);
  fill(copy, values);
  return [...copy.childNodes];
}

function notice(view, name, values) {
  view.querySelector("[data-notice]").replaceChildren(...(name === null ? [] : sentence(name, values)));
}

function status(viewName, name, values) {
  viewOf(viewName).querySelector("[data-status]").replaceChildren(...(name === null ? [] : sentence(name, values)));
}

/** A time on the reader's clock, in the reader's form. */
function moment(written) {
  const day = { weekday: "long", day: "numeric", month: "long", year: "numeric" };
  const time = { hour: "2-digit", minute: "2-digit", timeZoneName: "short" };
  return new Intl.DateTimeFormat(LOCALE, { ...day, ...time }).format(new Date(written));
}

function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, count)) / 3)));
  const form = { style: "unit", unit: units[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: 1 };
  return new Intl.NumberFormat(LOCALE, form).format(count / 1000 ** step);
}

// --- what the tab remembers

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(SHARE_ID)) ?? {};
  } catch {
    return memory; // storage is blocked: then only a reload loses it
  }
}

function remember(more) {
  memory = { ...memory, ...more };
  try {
    sessionStorage.setItem(SHARE_ID, JSON.stringify(memory));
  } catch {
    // As above.
  }
}

function forget() {
  memory = {};
  try {
    sessionStorage.removeItem(SHARE_ID);
  } catch {
    // As above.
  }
}

// --- what it says to the service

async function post(path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  return answerOf(path, { method: "POST", headers, body: body && JSON.stringify(body) });
}

async function head(path) {
  return answerOf(path, { method: "HEAD" });
}

/**
 * The answer as `{ok, gone, code, data}`. `code` is the problem's, or `offline` when there was no answer; `gone` says
 * that asking again is of no use, also where a HEAD brings no code.
 */
async function answerOf(path, options) {
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const response = await fetch(path, { ...options, signal, credentials: "same-origin", cache: "no-store" });
    const text = await response.text();
    const data = text && response.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : null;
    return { ok: response.ok, gone: [404, 410].includes(response.status), code: data?.code, data };
  } catch {
    return { ok: false, gone: false, code: "offline", data: null };
  }
}

/** Run one thing at a time: a second click while the first is under way does nothing. */
let working = false;
async function alone(action) {
  if (working) return;
  working = true;
  document.body.toggleAttribute("data-working", true);
  try {
    await action();
  } finally {
    working = false;
    document.body.toggleAttribute("data-working", false);
  }
}

function toBase64url(array) {
  return btoa(String.fromCharCode(...array)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function fromBase64url(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
}

for (const button of document.querySelectorAll("[data-retry]")) button.addEventListener("click", () => alone(start));
addEventListener("hashchange", start);
start();
