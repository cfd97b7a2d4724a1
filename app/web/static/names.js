/**
 * Makes file names and paths from a depositor's client safe to show, and to store on the reader's disk. Those of sealed
 * transfers are unknown to the service, so it could not refuse unsafe ones.
 *
 * The rules are those of app/domain/portable_names.py, which names their sources; both are tested against
 * tests/vectors/file-names.json.
 */

const LONGEST_BYTES = 200;
/** The service accepts no longer path. A sealed one could name folders until the memory is full. */
const LONGEST_PATH = 512;
const TAIL_BYTES = 60;
const SUFFIX_BYTES = 20;
/** Control characters, lone surrogates, directional and invisible marks, and what Windows or paths reserve. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}/\\:*?"<>|\ufffd]/gu;
/** Reserved by Windows for devices, with any extension. */
const DEVICE = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)/i;
const ELLIPSIS = "…";

/**
 * Return the portable paths of a transfer's files, in order: folders and name with "/" between them. In each folder, all
 * names are distinct where case and normalisation are ignored.
 * @param {{name?: unknown, path?: unknown}[]} files whatever the metadata hold
 * @returns {string[]}
 */
export function distinctPaths(files) {
  const top = new Folder("");
  return files.map(({ name, path }, number) => {
    const folders = typeof path === "string" && path !== "" && path.length <= LONGEST_PATH ? path.split("/") : [];
    const folder = folders.reduce((above, given) => above.below(given), top);
    return folder.prefix + folder.take(portable(name, `file-${number + 1}`));
  });
}

/** The names taken in one folder. `prefix` is its portable path, which ends with "/" unless it is empty. */
class Folder {
  /** @param {string} prefix */
  constructor(prefix) {
    this.prefix = prefix;
    /** @type {Set<string>} */
    this.taken = new Set();
    /** @type {Map<string, number>} */
    this.counts = new Map();
    /** The folders in it, by the names that the depositor's programs gave them. @type {Map<string, Folder>} */
    this.folders = new Map();
  }

  /** @param {string} name */
  take(name) {
    const key = folded(name);
    let candidate = name;
    while (this.taken.has(folded(candidate))) {
      const count = (this.counts.get(key) ?? 1) + 1;
      this.counts.set(key, count);
      candidate = numbered(name, count);
    }
    this.taken.add(folded(candidate));
    return candidate;
  }

  /**
   * @param {string} given
   * @returns {Folder}
   */
  below(given) {
    const known = this.folders.get(given);
    if (known) return known;
    const folder = new Folder(`${this.prefix}${this.take(portable(given, "folder"))}/`);
    this.folders.set(given, folder);
    return folder;
  }
}

/**
 * @param {unknown} given
 * @param {string} instead returned if nothing is left of the name
 * @returns {string}
 */
function portable(given, instead) {
  const composed = String(given ?? "").normalize("NFC");
  const plain = composed.replace(UNSAFE, "_").replace(/^[\s.]+|[\s.]+$/g, "");
  return shortened(DEVICE.test(plain) ? `_${plain}` : plain) || instead;
}

/**
 * Cut out the middle of a name that is too long, keeping its end.
 * @param {string} name
 */
function shortened(name) {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length <= LONGEST_BYTES) return name;
  const head = text(bytes.subarray(0, LONGEST_BYTES - TAIL_BYTES - byteLength(ELLIPSIS)));
  return head + ELLIPSIS + text(bytes.subarray(-TAIL_BYTES));
}

/**
 * @param {string} name
 * @param {number} count
 */
function numbered(name, count) {
  const at = name.lastIndexOf(".");
  const dotted = at > 0 && byteLength(name.slice(at + 1)) <= SUFFIX_BYTES;
  const [stem, suffix] = dotted ? [name.slice(0, at), name.slice(at)] : [name, ""];
  const ending = ` (${count})${suffix}`;
  return text(new TextEncoder().encode(stem).subarray(0, LONGEST_BYTES - byteLength(ending))) + ending;
}

/**
 * Return the form in which names are compared.
 * @param {string} name
 */
function folded(name) {
  return name.toUpperCase().toLowerCase().normalize("NFC");
}

/** @param {string} written */
function byteLength(written) {
  return new TextEncoder().encode(written).length;
}

/**
 * Decode UTF-8, leaving out characters that were cut at either end.
 * @param {Uint8Array} bytes
 */
function text(bytes) {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes).replace(/^\ufffd+|\ufffd+$/g, "");
}
