/**
 * The files of a claim: a row for each and one for all of them in a ZIP, their downloads with progress, and the
 * confirmation that everything has arrived.
 */

import * as api from "./api.js";
import { Damaged } from "./chunked.js";
import { Gone, plaintext } from "./fetching.js";
import { counted, progressOf } from "./progress.js";
import { Cancelled, MEMORY_BYTES, NoWorker, saveByWorker, saveFromMemory } from "./saving.js";
import { alone, byId, copyOf, notice, part, put, show, status } from "./view.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */
/** @typedef {import("./remembered.js").KeptClaim} KeptClaim */
/** @typedef {import("./remembered.js").KeptFile} KeptFile */
/**
 * @typedef {object} Row one file, or all of them in a ZIP
 * @property {KeptFile[]} files what its download contains
 * @property {string} id
 * @property {string} name
 * @property {number} size in bytes
 * @property {HTMLElement} element
 * @property {boolean} running
 * @property {(key: CryptoKey, options: {signal: AbortSignal, onCut: (cut: boolean) => void}) => AsyncGenerator<Bytes, void, void>} open
 * @property {string} path where the browser itself downloads it
 */
/**
 * @typedef {object} Holder the claim, and the page's callbacks for it
 * @property {KeptClaim} claim
 * @property {string} token
 * @property {ServiceWorker | null} worker
 * @property {boolean} keeping whether the claim survives closing the tab
 * @property {() => Promise<void>} moved called when bytes or a file arrived, which extends the window
 * @property {(view?: string) => Promise<void>} end called when nothing more can be fetched; the view gives the reason
 */

/** @type {Holder} */
let holder;
/** One row for each file. @type {Row[]} */
let rows = [];
/** The row of the ZIP; null for a single file. @type {Row | null} */
let all = null;
/** Bytes of ciphertext that the claim may still fetch; null until the service has said so. @type {number | null} */
let left = null;
/** How often the service sends everything (docs/http-api.md). */
const TIMES = 3;
const ASK_LEFT_AGAIN_MS = 5_000;

/** Return whether a download is running, which leaving the page would stop. */
export function busy() {
  return everyRow().some((row) => row.running);
}

function everyRow() {
  return all ? [all, ...rows] : rows;
}

/**
 * @param {Holder} held
 * @param {{path: string, crc32: number | null}[]} metas one for each file of the claim; the paths are portable and distinct
 */
export async function showFiles(held, metas) {
  holder = held;
  rows = held.claim.files.map((file, index) => rowOfFile(file, metas[index].path));
  all = rows.length > 1 ? await rowOfAll(metas) : null;
  byId("all").replaceChildren(...(all ? [all.element] : []));
  byId("all").hidden = !all;
  byId("files").replaceChildren(...rows.map((row) => row.element));
  askToConfirm(false);
  const window = held.keeping ? { seconds: Number(document.body.dataset.window) } : undefined;
  show("files", { expires: new Date(held.claim.expiresAt), window, count: rows.length });
  left = null;
  settle();
  if (rows.some(({ files: [file] }) => isAskedFor(file) || file.begun)) void askLeft();
}

/**
 * Ask how much may still be fetched, until two answers are equal: a download that was cut holds its bytes for a moment.
 */
async function askLeft() {
  const { claim, token } = holder;
  const answered = await api.allowanceLeft(claim.id, token);
  if (claim !== holder.claim || answered === null || answered === left) return;
  left = answered;
  settle();
  setTimeout(() => void askLeft(), ASK_LEFT_AGAIN_MS);
}

/**
 * Return whether the service would refuse to send these files once more.
 * @param {KeptFile[]} files
 */
function isSpent(files) {
  return left !== null && sealedSize(files) > left;
}

/** @param {KeptFile[]} files */
function sealedSize(files) {
  return files.reduce((sum, file) => sum + file.sealedSize, 0);
}

/** Say how often everything can still be downloaded; once nothing can, the invitation to come back goes. */
function tellLeft() {
  const { files } = holder.claim;
  const nothing = files.every((file) => isSpent([file]));
  const count = left === null ? 0 : Math.min(TIMES, Math.floor(left / sealedSize(files)));
  const key = left === null ? "files_times" : count > 0 ? "files_left" : nothing ? "files_spent" : "files_left_some";
  put(byId("left"), key, { count });
  byId("window").hidden = nothing;
}

/**
 * @param {KeptFile} file
 * @param {string} path its folders and name, "/" between them
 * @returns {Row}
 */
function rowOfFile(file, path) {
  const element = elementOf(String(file.number), file.size);
  const name = path.slice(path.lastIndexOf("/") + 1);
  const folder = path.slice(0, -name.length - 1);
  part(element, ".file-called").textContent = name;
  part(element, ".file-folder").hidden = folder === "";
  put(part(element, ".file-folder"), folder ? "file_folder" : null, { folder });
  return listening({
    ...{ files: [file], id: String(file.number), name, size: file.size, element, running: false },
    open: (key, options) => plaintext(claimWith(key), file, options),
    path: api.filePath(holder.claim.id, file.number),
  });
}

/**
 * Return the row of all files; null if this browser must hold files in memory and all of them are too large for that, or
 * if the script that writes archives cannot be loaded. A single file does not need it.
 * @param {{path: string, crc32: number | null}[]} metas
 * @returns {Promise<Row | null>}
 */
async function rowOfAll(metas) {
  const script = await import("./zip.js").catch(() => null);
  if (!script) return null;
  const { zipSize, zipped } = script;
  const { id, files, archive, key } = holder.claim;
  const entries = files.map(({ size }, index) => ({ name: metas[index].path, crc32: metas[index].crc32, size }));
  const size = zipSize(entries);
  if (key && !holder.worker && size > MEMORY_BYTES) return null;
  const element = elementOf("all", size);
  put(part(element, ".file-called"), "all_files");
  return listening({
    ...{ files, id: "all", name: archive ?? "caducee.zip", size, element, running: false },
    open: (key, options) => zipped(entries, (index) => plaintext(claimWith(key), files[index], options), new Date()),
    path: api.zipPath(id),
  });
}

/**
 * @param {string} id
 * @param {number} size
 */
function elementOf(id, size) {
  const element = copyOf("file");
  const [label, button] = [part(element, ".file-name"), part(element, "button")];
  label.id = `file-${id}`;
  button.id = `fetch-${id}`;
  button.setAttribute("aria-labelledby", `${button.id} ${label.id}`);
  put(part(element, ".file-size"), "size", { size: { bytes: size } });
  return element;
}

/**
 * @param {Row} row
 * @returns {Row}
 */
function listening(row) {
  part(row.element, "button").addEventListener("click", () => void fetchRow(row));
  return row;
}

/** @param {CryptoKey} key */
function claimWith(key) {
  return { id: holder.claim.id, transferId: holder.claim.transferId, key, token: holder.token };
}

/** Show the rows whose download is not running. The ZIP, then the first file not requested, is the primary action. */
function settle() {
  for (const row of everyRow().filter(({ running }) => !running)) {
    const [button, mark] = [part(row.element, "button"), part(row.element, ".file-received")];
    const asked = row.files.every(isAskedFor);
    const received = row.files.every((file) => file.received);
    put(button, asked ? "download_again" : "download");
    button.classList.toggle("plain", asked);
    button.hidden = isSpent(row.files);
    const cut = row.files.every((file) => isAskedFor(file) || file.begun);
    put(mark, received ? "file_received" : asked ? "file_started" : cut ? "file_cut" : null);
    mark.classList.toggle("file-started", !received);
    mark.hidden = !asked && !cut;
    part(row.element, ".file-progress").hidden = true;
  }
  const next = everyRow().find((row) => !row.files.every(isAskedFor) && !row.running && !isSpent(row.files));
  for (const row of everyRow()) part(row.element, "button").classList.toggle("secondary", row !== next);
  byId("finish").classList.toggle("secondary", rows.some((row) => !row.files[0].received));
  tellLeft();
}

/**
 * Return whether a file has arrived or the browser was asked to download it; the page cannot see how that ends.
 * @param {KeptFile} file
 */
function isAskedFor({ received, started }) {
  return received === true || started === true;
}

/** @param {Row} row */
async function fetchRow(row) {
  if (row.running) return;
  row.running = true;
  put(part(row.element, ".error"), null);
  notice("files", null);
  try {
    await (holder.claim.key ? decrypt(row, holder.claim.key) : leaveToBrowser(row));
  } catch (error) {
    if (error instanceof Damaged) for (const file of row.files) file.begun = false; // it did not merely stop
    await failed(row, error);
  } finally {
    const followed = row.element.contains(document.activeElement);
    row.running = false;
    settle();
    if (followed) part(row.element, "button").focus();
    void askLeft();
  }
}

// --- decrypted here

/**
 * @param {Row} row
 * @param {CryptoKey} key
 */
async function decrypt(row, key) {
  const stopped = new AbortController();
  for (const file of row.files) file.begun = true;
  void holder.moved();
  const progress = progressOf({ ...row, labelledBy: `file-${row.id}` }, () => void holder.moved());
  const open = () => counted(row.open(key, { signal: stopped.signal, onCut: progress.cut }), progress.moved);
  try {
    await save(row, open);
  } finally {
    progress.end();
    stopped.abort();
  }
  for (const file of row.files) Object.assign(file, { received: true, begun: false });
  await marked(row, "received");
}

/**
 * @param {Row} row
 * @param {() => AsyncGenerator<Bytes, void, void>} open
 */
async function save({ name, size }, open) {
  const { worker } = holder;
  if (worker) {
    try {
      return await saveByWorker(worker, { name, size }, open);
    } catch (error) {
      if (!(error instanceof NoWorker)) throw error;
    }
  }
  if (size > MEMORY_BYTES) throw new TooLarge();
  return saveFromMemory(name, open());
}

class TooLarge extends Error {}

// --- left to the browser

/** Let the browser download with the claim's cookie. Check first, because the page would not see a refusal.
 * @param {Row} row
 */
async function leaveToBrowser(row) {
  const { id } = holder.claim;
  const { ok } = await api.named(id, row.files[0].number);
  if (!ok) {
    const { gone, code } = await api.standing(id, "");
    throw gone ? new Gone(code) : new Error("no answer");
  }
  await askLeft();
  if (isSpent(row.files)) throw new Gone("claim_exhausted");
  const link = document.createElement("a");
  link.href = row.path;
  link.download = "";
  link.click();
  for (const file of row.files) file.started = true;
  await marked(row, "download_started");
}

/**
 * @param {Row} row
 * @param {string} key
 */
async function marked({ name }, key) {
  await holder.moved();
  status("files", key, { name });
}

/**
 * @param {Row} row
 * @param {unknown} error
 */
async function failed(row, error) {
  status("files", null);
  put(part(row.element, ".error"), troubleOf(error));
}

/** What the row says when the service refuses for good, by its code. @type {Record<string, string>} */
const TROUBLE_OF_CODE = { claim_exhausted: "files_spent", share_withdrawn: "withdrawn_text" };

/** @param {unknown} error */
function troubleOf(error) {
  if (error instanceof Gone) return TROUBLE_OF_CODE[error.code] ?? "files_refused";
  if (error instanceof Damaged) return "files_damaged";
  if (error instanceof Cancelled) return "files_cancelled";
  if (error instanceof TooLarge) return "files_too_large";
  return navigator.onLine ? "files_busy" : "files_offline";
}

// --- everything has arrived

byId("finish").addEventListener("click", () => {
  askToConfirm(true);
  byId("confirm-title").focus();
  byId("confirm").scrollIntoView({ block: "nearest" }); // its buttons too
});
byId("confirm-no").addEventListener("click", stepBack);
byId("confirm-yes").addEventListener("click", () => void alone(complete));
byId("confirm").addEventListener("keydown", (event) => {
  if (event.key === "Escape") stepBack();
});

/** @param {boolean} asked */
function askToConfirm(asked) {
  const missing = rows.filter(({ files: [file] }) => !isAskedFor(file)).length;
  const started = rows.filter(({ files: [file] }) => file.started).length;
  put(byId("missing"), missing ? "confirm_missing" : null, { count: missing });
  put(byId("started"), started ? "confirm_started" : null, { count: started });
  byId("confirm").hidden = !asked;
  byId("finish").hidden = asked;
  byId("finish").setAttribute("aria-expanded", String(asked));
}

function stepBack() {
  askToConfirm(false);
  byId("finish").focus();
}

async function complete() {
  notice("files", null);
  status("files", "deleting");
  const answer = await api.complete(holder.claim.id, holder.claim.key ? holder.token : null);
  status("files", null);
  if (answer.ok) return holder.end("done");
  if (answer.gone) return holder.end();
  return notice("files", answer.code === "offline" ? "files_offline" : "files_busy");
}
