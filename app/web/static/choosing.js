/**
 * Choosing files: dropped or picked, with the folders above them. Nothing is read yet. A folder may have any number of
 * files: the page stays responsive, and does not ask for their sizes once there are too many.
 */

import { filesProblem, isLeftOut, mostCounted, shown, sizeOf } from "./rules.js";
import { byId, copyOf, part, put } from "./view.js";

/** @typedef {import("./deposit.js").Chosen} Chosen */

const SHOWN_AT_MOST = 100;
/** The browser looks up each size, and the page waits. */
const SIZES_AT_ONCE = 50;

/** By path and name, so that a file chosen twice is sent once. @type {Map<string, Chosen>} */
const files = new Map();
/** @type {import("./session.js").Me | null} */
let rules = null;
let told = () => {};
/** Resolves once all that was dropped or picked has been added. */
let settled = Promise.resolve();

/** Return the files, once all that was dropped or picked has been added. */
export async function chosen() {
  await settled;
  return all();
}

function all() {
  return [...files.values()];
}

/**
 * @param {import("./session.js").Me} me
 * @param {() => void} changed called when files were added or removed
 */
export function onChoosing(me, changed) {
  rules = me;
  told = changed;
}

export function forgetChosen() {
  files.clear();
  draw();
}

/**
 * Remove a file that cannot be sent.
 * @param {{name: string, path: string}} file
 */
export function removeFile(file) {
  files.delete(shown(file));
  draw();
}

/** Show what is wrong with the files, and return whether nothing is. */
export function complainOfFiles() {
  const problem = rules && filesProblem(all(), rules);
  put(byId("files-error"), problem?.key ?? null, problem?.values);
  byId("drop-empty").hidden = problem?.key !== "files_empty";
  return problem === null;
}

/**
 * Add files; of folders, only those that are not left out.
 * @param {Chosen[]} more
 */
async function add(more) {
  for (const each of more) if (each.path === "" || !isLeftOut(each.name)) files.set(shown(each), each);
  for (let at = SIZES_AT_ONCE; at < files.size && !areTooMany(); at += SIZES_AT_ONCE) {
    sizeOf(all().slice(at - SIZES_AT_ONCE, at)); // the browser remembers them
    await new Promise(requestAnimationFrame);
  }
  draw();
}

function areTooMany() {
  return rules !== null && files.size > rules.max_files;
}

function draw() {
  const every = all();
  byId("chosen").replaceChildren(...every.slice(0, SHOWN_AT_MOST).map(row));
  const rest = every.length - SHOWN_AT_MOST;
  const isCounted = rules === null || every.length <= mostCounted(rules);
  put(byId("chosen-more"), rest > 0 && isCounted ? "chosen_more" : null, { count: rest });
  const isSummed = every.length > 0 && !areTooMany();
  put(byId("chosen-sum"), isSummed ? "chosen_sum" : null, isSummed ? { count: every.length, size: { bytes: sizeOf(every) } } : {});
  byId("clear").hidden = every.length < 2;
  if (every.length > 0) complainOfFiles();
  else put(byId("files-error"), null);
  byId("drop-empty").hidden &&= true;
  told();
}

/** @param {Chosen} each */
function row(each) {
  const item = copyOf("file-row");
  part(item, ".file-name bdi").textContent = shown(each);
  put(part(item, ".file-size"), "file_size", { size: { bytes: each.file.size } });
  const button = part(item, "button");
  button.setAttribute("aria-label", `${button.textContent} ${shown(each)}`);
  button.addEventListener("click", () => {
    const next = /** @type {HTMLElement | null} */ (item.nextElementSibling ?? item.previousElementSibling);
    const place = next && [...(next.parentElement?.children ?? [])].indexOf(next);
    files.delete(shown(each));
    draw();
    const rows = byId("chosen").children;
    const index = Math.min(place ?? 0, rows.length - 1);
    (rows[index]?.querySelector("button") ?? byId("pick")).focus();
  });
  return item;
}

/**
 * Return the files of a picker.
 * @param {FileList | null} list
 * @returns {Chosen[]}
 */
export function picked(list) {
  return Array.from(list ?? [], (file) => {
    const folders = file.webkitRelativePath.split("/").slice(0, -1);
    return { file, name: file.name, path: folders.join("/") };
  });
}

/**
 * Return everything that was dropped, in folders, too. The entries must be taken before the event ends.
 * @param {DataTransfer} transfer
 * @returns {Promise<Chosen[]>}
 */
async function dropped(transfer) {
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry());
  /** @type {Chosen[]} */
  const found = [];
  for (const entry of entries) if (entry) await walk(entry, "", found);
  return found;
}

/**
 * Find the files of an entry, until more are found than are counted.
 * @param {FileSystemEntry} entry
 * @param {string} path
 * @param {Chosen[]} found
 */
async function walk(entry, path, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => /** @type {any} */ (entry).file(resolve, reject));
    found.push({ file: /** @type {File} */ (file), name: entry.name, path });
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const below = path ? `${path}/${entry.name}` : entry.name;
  while (rules === null || found.length <= mostCounted(rules)) {
    /** A reader returns at most 100 entries at a time. @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const each of some) await walk(each, below, found); // one after the other: all at once would stop the page
  }
}

/**
 * Add files; who sends waits for it.
 * @param {Promise<void>} adding
 */
function settle(adding) {
  settled = Promise.all([settled, adding.catch(unreadable)]).then(() => {});
}

function unreadable() {
  draw();
  put(byId("files-error"), "files_unreadable");
}

for (const [button, input] of [["pick", "pick-files"], ["pick-folder", "pick-folders"]]) {
  const field = /** @type {HTMLInputElement} */ (byId(input));
  byId(button).addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    settle(add(picked(field.files)));
    field.value = "";
  });
}
byId("clear").addEventListener("click", () => {
  forgetChosen();
  byId("pick").focus();
});
byId("drop-empty").addEventListener("click", () => {
  for (const [key, { file }] of files) if (file.size === 0) files.delete(key);
  draw();
  byId("pick").focus();
});

const zone = byId("drop");
addEventListener("dragover", (event) => {
  event.preventDefault(); // a file dropped beside the zone must not replace the page
  zone.toggleAttribute("data-over", zone.contains(/** @type {Node} */ (event.target)));
});
addEventListener("dragleave", () => zone.removeAttribute("data-over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  zone.removeAttribute("data-over");
  if (!event.dataTransfer || zone.closest("[hidden]")) return;
  put(byId("chosen-sum"), "chosen_reading");
  settle(dropped(event.dataTransfer).then(add));
});
