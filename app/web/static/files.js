/**
 * The files of a claim: a row for each, its download with progress, and the confirmation that everything has arrived.
 */

import * as api from "./api.js";
import { Damaged } from "./chunked.js";
import { Gone, plaintext } from "./fetching.js";
import { Cancelled, MEMORY_BYTES, NoWorker, saveByWorker, saveFromMemory } from "./saving.js";
import { alone, byId, notice, part, put, show, status } from "./view.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */
/** @typedef {import("./remembered.js").KeptClaim} KeptClaim */
/** @typedef {import("./remembered.js").KeptFile} KeptFile */
/** @typedef {{file: KeptFile, name: string, element: HTMLElement, running: boolean}} Row */
/**
 * @typedef {object} Holder the claim, and the page's callbacks for it
 * @property {KeptClaim} claim
 * @property {string} token
 * @property {ServiceWorker | null} worker
 * @property {boolean} keeping whether the claim survives closing the tab
 * @property {() => Promise<void>} moved called when bytes or a file arrived, which extends the window
 * @property {(view?: string) => Promise<void>} end called when nothing more can be fetched; the view gives the reason
 */

const TOLD_EVERY_MS = 250;
const ANNOUNCED_EVERY = 0.25;
const MOVED_EVERY_MS = 30_000;

/** @type {Holder} */
let holder;
/** @type {Row[]} */
let rows = [];

/** Return whether a download is running, which leaving the page would stop. */
export function busy() {
  return rows.some((row) => row.running);
}

/**
 * @param {Holder} held
 * @param {string[]} names one for each file of the claim
 */
export function showFiles(held, names) {
  holder = held;
  rows = held.claim.files.map((file, index) => rowOf(file, names[index]));
  byId("files").replaceChildren(...rows.map((row) => row.element));
  askToConfirm(false);
  const window = held.keeping ? { seconds: Number(document.body.dataset.window) } : undefined;
  show("files", { expires: new Date(held.claim.expiresAt), window, count: rows.length });
  for (const row of rows) settle(row);
}

/**
 * @param {KeptFile} file
 * @param {string} name
 * @returns {Row}
 */
function rowOf(file, name) {
  const template = /** @type {HTMLTemplateElement} */ (byId("file"));
  const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const row = { file, name, element: part(copy, "li"), running: false };
  const [label, button] = [part(copy, "bdi"), part(copy, "button")];
  label.textContent = name;
  label.id = `file-${file.number}`;
  button.id = `fetch-${file.number}`;
  button.setAttribute("aria-labelledby", `${button.id} ${label.id}`);
  put(part(copy, ".file-size"), "size", { size: { bytes: file.size } });
  button.addEventListener("click", () => void fetchRow(row));
  return row;
}

/** Show a row whose download is not running. The first file that was not requested is the primary action.
 * @param {Row} row
 */
function settle({ file, element }) {
  const [button, mark] = [part(element, "button"), part(element, ".file-received")];
  put(button, isAskedFor(file) ? "download_again" : "download");
  button.classList.toggle("plain", isAskedFor(file));
  button.hidden = false;
  put(mark, file.received ? "file_received" : file.started ? "file_started" : null);
  mark.classList.toggle("file-started", !file.received);
  mark.hidden = !isAskedFor(file);
  part(element, ".file-progress").hidden = true;
  const next = rows.find((row) => !isAskedFor(row.file) && !row.running);
  for (const { element } of rows) part(element, "button").classList.toggle("secondary", element !== next?.element);
  byId("finish").classList.toggle("secondary", rows.some(({ file }) => !file.received));
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
    await failed(row, error);
  } finally {
    const followed = row.element.contains(document.activeElement);
    row.running = false;
    settle(row);
    if (followed) part(row.element, "button").focus();
  }
}

// --- decrypted here

/**
 * @param {Row} row
 * @param {CryptoKey} key
 */
async function decrypt(row, key) {
  const { id, transferId } = holder.claim;
  const claim = { id, transferId, key, token: holder.token };
  const stopped = new AbortController();
  const progress = progressOf(row);
  const open = () =>
    counted(plaintext(claim, row.file, { signal: stopped.signal, onCut: progress.cut }), progress.moved);
  try {
    await save(row, open);
  } finally {
    progress.end();
    stopped.abort();
  }
  row.file.received = true;
  await marked(row, "received");
}

/**
 * @param {Row} row
 * @param {() => AsyncGenerator<Bytes, void, void>} open
 */
async function save({ file, name }, open) {
  const { worker } = holder;
  if (worker) {
    try {
      return await saveByWorker(worker, { name, size: file.size }, open);
    } catch (error) {
      if (!(error instanceof NoWorker)) throw error;
    }
  }
  if (file.size > MEMORY_BYTES) throw new TooLarge();
  return saveFromMemory(name, open());
}

class TooLarge extends Error {}

/**
 * @param {AsyncGenerator<Bytes, void, void>} pieces
 * @param {(bytes: number) => void} moved
 * @returns {AsyncGenerator<Bytes, void, void>}
 */
async function* counted(pieces, moved) {
  for await (const piece of pieces) {
    const { length } = piece; // the consumer may transfer the buffer
    yield piece;
    moved(length);
  }
}

/** Show a download's progress: four times per second on screen, at each quarter to screen readers.
 * @param {Row} row
 */
function progressOf({ file, name, element }) {
  const bar = /** @type {HTMLProgressElement} */ (part(element, "progress"));
  const told = part(element, ".file-told");
  let [done, announced, cutNow] = [0, 0, false];
  let [counted, moved] = [0, performance.now()];
  const speed = new Speed();
  const followed = document.activeElement === part(element, "button");
  part(element, "button").hidden = true;
  part(element, ".file-progress").hidden = false;
  if (followed) part(element, ".file-progress").focus(); // the button is hidden: keep the focus in the row
  part(element, ".file-received").hidden = true;
  bar.setAttribute("aria-labelledby", `file-${file.number}`);
  bar.value = 0;
  const tell = () => {
    const share = file.size ? done / file.size : 1;
    const perSecond = speed.at(done);
    bar.value = share;
    if (cutNow) return put(told, "cut");
    const left = perSecond ? { seconds: (file.size - done) / perSecond } : undefined;
    const values = { done: { bytes: done }, size: { bytes: file.size }, speed: { bytes: perSecond }, left };
    put(told, left && done < file.size ? "progress" : "progress_first", values);
    if (done > counted && performance.now() - moved > MOVED_EVERY_MS) {
      [counted, moved] = [done, performance.now()];
      void holder.moved();
    }
    if (share < announced + ANNOUNCED_EVERY || share >= 1) return;
    announced = share;
    status("files", "announced", { name, percent: Math.round(share * 100) });
  };
  const timer = setInterval(tell, TOLD_EVERY_MS);
  tell();
  return {
    moved: (/** @type {number} */ bytes) => void (done += bytes),
    cut: (/** @type {boolean} */ cut) => {
      if (cut && !cutNow) status("files", "cut");
      cutNow = cut;
    },
    end: () => clearInterval(timer),
  };
}

/** Bytes per second over the last few seconds. */
class Speed {
  /** @type {[number, number][]} */
  marks = [];

  /** @param {number} done */
  at(done) {
    const now = performance.now();
    this.marks.push([now, done]);
    if (this.marks.length > 20) this.marks.shift();
    const [then, before] = this.marks[0];
    return now > then ? ((done - before) * 1000) / (now - then) : 0;
  }
}

// --- left to the browser

/** Let the browser download with the claim's cookie. Check first, because the page would not see a refusal.
 * @param {Row} row
 */
async function leaveToBrowser(row) {
  const { id } = holder.claim;
  const { ok } = await api.named(id, row.file.number);
  if (!ok) throw (await api.standing(id, "")).gone ? new Gone() : new Error("no answer");
  const link = document.createElement("a");
  link.href = api.filePath(id, row.file.number);
  link.download = "";
  link.click();
  row.file.started = true;
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

/** @param {unknown} error */
function troubleOf(error) {
  if (error instanceof Gone) return "files_refused";
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
  const missing = rows.filter(({ file }) => !isAskedFor(file)).length;
  const started = rows.filter(({ file }) => file.started).length;
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
