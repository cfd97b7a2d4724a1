/**
 * The house's rules, applied to everything before the first byte is sent. The service applies the same (app/domain/), but
 * it cannot read the names of sealed files, and learns the recipients only after the files.
 */

/** @typedef {import("./session.js").Me} Me */
/** @typedef {import("./deposit.js").Chosen} Chosen */
/** @typedef {{key: string, values: import("./language.js").Values}} Problem */

const UNIT_SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400 };
const OFFERED = ["1h", "4h", "12h", "1d", "2d", "3d", "5d", "7d", "14d", "31d"];
/** Times the number of files that may be sent: more are not counted exactly. */
const COUNTED = 10;
const LONGEST_NAME_BYTES = 255;
const LONGEST_PATH_BYTES = 512;
const LONGEST_TEXT = 200;
const MOST_RECORDS = 1e9;
/** As `is_plain` in app/domain/transfer.py: control characters, line breaks, directional marks. */
const NOT_PLAIN = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;
const SEPARATORS = /[/\\]/;
const DRIVE = /^[A-Za-z]:/;
const NOTHING = /^[ .]*$/;
/** Files of a folder that are not sent: as in app/client/collecting.py, tested against tests/vectors/left-out.json. */
const OF_THE_SYSTEM = [".ds_store", "thumbs.db", "desktop.ini"];
const LOCKS = ["~$", ".~lock.", "._"];
const UNFINISHED = [".tmp", ".part", ".partial", ".filepart", ".crdownload"];

/**
 * Return the seconds of a duration such as `3d`.
 * @param {string} written
 */
export function seconds(written) {
  const [, count, unit] = /^(\d+)([smhd]?)$/.exec(written) ?? [];
  return Number(count) * UNIT_SECONDS[/** @type {keyof typeof UNIT_SECONDS} */ (unit || "s")];
}

/**
 * Return the lifetimes to offer, shortest first: round ones in the house's range, its default, and its longest.
 * @param {Me} me
 */
export function lifetimes({ min_lifetime, default_lifetime, max_lifetime }) {
  const [least, most] = [seconds(min_lifetime), seconds(max_lifetime)];
  const within = OFFERED.filter((each) => seconds(each) >= least && seconds(each) <= most);
  const all = [...within, default_lifetime, max_lifetime];
  const distinct = all.filter((each, index) => all.findIndex((other) => seconds(other) === seconds(each)) === index);
  return distinct.sort((one, other) => seconds(one) - seconds(other));
}

/**
 * Return what is wrong with the files chosen; null if nothing is.
 * @param {Chosen[]} chosen
 * @param {Me} me
 * @returns {Problem | null}
 */
export function filesProblem(chosen, me) {
  const { max_files: most, max_bytes: bytes } = me;
  if (chosen.length === 0) return { key: "files_none", values: {} };
  if (chosen.length > mostCounted(me)) return { key: "files_uncounted", values: { count: mostCounted(me), most } };
  if (chosen.length > most) return { key: "files_many", values: { count: chosen.length, most } };
  const size = sizeOf(chosen);
  if (size > bytes) return { key: "files_large", values: { size: { bytes: size }, most: { bytes } } };
  const unnamed = chosen.find(({ name, path }) => !isName(name) || !isPath(path));
  if (unnamed) return { key: "files_name", values: { name: shown(unnamed) } };
  const empty = chosen.filter(({ file }) => file.size === 0);
  if (empty.length > 0) return { key: "files_empty", values: { count: empty.length, name: shown(empty[0]) } };
  return null;
}

/**
 * Return up to how many files are counted exactly.
 * @param {Me} me
 */
export function mostCounted({ max_files: most }) {
  return COUNTED * most;
}

/**
 * Return whether a file of a folder belongs to the system, or to a program that is writing.
 * @param {string} name
 */
export function isLeftOut(name) {
  const lower = name.toLowerCase();
  const isLock = LOCKS.some((beginning) => lower.startsWith(beginning));
  return isLock || OF_THE_SYSTEM.includes(lower) || UNFINISHED.some((ending) => lower.endsWith(ending));
}

/** @param {Chosen[]} chosen */
export function sizeOf(chosen) {
  return chosen.reduce((sum, { file }) => sum + file.size, 0);
}

/** @param {{name: string, path: string}} file */
export function shown({ name, path }) {
  return path ? `${path}/${name}` : name;
}

/**
 * Return the recipients written one per line.
 * @param {string} written
 */
export function recipientsOf(written) {
  return written.split("\n").map((line) => line.trim()).filter(Boolean);
}

/**
 * @param {string[]} recipients
 * @param {Me} me
 * @returns {Problem | null}
 */
export function recipientsProblem(recipients, { max_shares: most }) {
  if (recipients.length === 0) return { key: "recipients_none", values: {} };
  const twice = recipients.find((each, index) => recipients.indexOf(each) !== index);
  if (twice) return { key: "recipients_twice", values: { name: twice } };
  if (recipients.length > most) return { key: "recipients_many", values: { most } };
  return recipients.every(isText) ? null : { key: "text_refused", values: { most: LONGEST_TEXT } };
}

/**
 * @param {string} subject
 * @returns {Problem | null}
 */
export function subjectProblem(subject) {
  return isText(subject) ? null : { key: "text_refused", values: { most: LONGEST_TEXT } };
}

/**
 * @param {string} written
 * @returns {Problem | null}
 */
export function recordsProblem(written) {
  const isCount = written === "" || (/^\d{1,10}$/.test(written) && Number(written) <= MOST_RECORDS);
  return isCount ? null : { key: "records_refused", values: {} };
}

/** @param {string} text */
function isText(text) {
  return [...text].length <= LONGEST_TEXT && !NOT_PLAIN.test(text);
}

/** @param {string} name */
function isName(name) {
  return isPart(name) && !SEPARATORS.test(name);
}

/** @param {string} path */
function isPath(path) {
  if (!path) return true;
  if (byteLength(path) > LONGEST_PATH_BYTES) return false;
  return path.split("/").every((folder) => isPart(folder) && !folder.includes("\\") && !DRIVE.test(folder));
}

/** @param {string} text */
function isPart(text) {
  return !NOTHING.test(text) && !NOT_PLAIN.test(text) && !text.includes("\ufffd") && byteLength(text) <= LONGEST_NAME_BYTES;
}

/** @param {string} text */
function byteLength(text) {
  return new TextEncoder().encode(text).length;
}
