/**
 * Choosing files: dropped or picked, with the folders above them. Nothing is read yet.
 */

import { filesProblem, isLeftOut, shown, sizeOf } from "./rules.js";
import { byId, copyOf, part, put } from "./view.js";

/** @typedef {import("./deposit.js").Chosen} Chosen */

const SHOWN_AT_MOST = 100;

/** By path and name, so that a file chosen twice is sent once. @type {Map<string, Chosen>} */
const files = new Map();
/** @type {import("./session.js").Me | null} */
let rules = null;
let told = () => {};

export function chosen() {
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
  const problem = rules && filesProblem(chosen(), rules);
  put(byId("files-error"), problem?.key ?? null, problem?.values);
  byId("drop-empty").hidden = problem?.key !== "files_empty";
  return problem === null;
}

/**
 * Add files; of folders, only those that are not left out.
 * @param {Chosen[]} more
 */
function add(more) {
  for (const each of more) if (each.path === "" || !isLeftOut(each.name)) files.set(shown(each), each);
  draw();
}

function draw() {
  const all = chosen();
  byId("chosen").replaceChildren(...all.slice(0, SHOWN_AT_MOST).map(row));
  const rest = all.length - SHOWN_AT_MOST;
  put(byId("chosen-more"), rest > 0 ? "chosen_more" : null, { count: rest });
  put(byId("chosen-sum"), all.length > 0 ? "chosen_sum" : null, { count: all.length, size: { bytes: sizeOf(all) } });
  byId("clear").hidden = all.length < 2;
  if (all.length > 0) complainOfFiles();
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
  for (;;) {
    /** A reader returns at most 100 entries at a time. @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const each of some) await walk(each, below, found);
  }
}

for (const [button, input] of [["pick", "pick-files"], ["pick-folder", "pick-folders"]]) {
  const field = /** @type {HTMLInputElement} */ (byId(input));
  byId(button).addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    add(picked(field.files));
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
  dropped(event.dataTransfer).then(add, () => put(byId("files-error"), "files_unreadable"));
});
