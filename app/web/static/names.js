/**
 * Makes file names from a depositor's client safe to show, and to store on the reader's disk. Names of sealed transfers
 * are unknown to the service, so it could not refuse unsafe ones.
 *
 * The rules are those of app/domain/portable_names.py, which names their sources; both are tested against
 * tests/vectors/file-names.json.
 */

const LONGEST_BYTES = 200;
const TAIL_BYTES = 60;
const SUFFIX_BYTES = 20;
/** Control characters, lone surrogates, directional and invisible marks, and what Windows or paths reserve. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}/\\:*?"<>|\ufffd]/gu;
/** Reserved by Windows for devices, with any extension. */
const DEVICE = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)/i;
const ELLIPSIS = "…";

/**
 * Return the portable names of a transfer's files, in order, all distinct where case and normalisation are ignored.
 * @param {unknown[]} given one for each file; undefined if it is unknown
 * @returns {string[]}
 */
export function distinctNames(given) {
  const taken = new Set();
  const counts = new Map();
  return given.map((each, number) => {
    const name = portableName(each, number);
    const key = folded(name);
    let candidate = name;
    while (taken.has(folded(candidate))) {
      counts.set(key, (counts.get(key) ?? 1) + 1);
      candidate = numbered(name, counts.get(key));
    }
    taken.add(folded(candidate));
    return candidate;
  });
}

/**
 * @param {unknown} given
 * @param {number} number of the file, used if nothing is left of the name
 * @returns {string}
 */
export function portableName(given, number) {
  const composed = String(given ?? "").normalize("NFC");
  const plain = composed.replace(UNSAFE, "_").replace(/^[\s.]+|[\s.]+$/g, "");
  const name = shortened(plain) || `file-${number + 1}`;
  return DEVICE.test(name) ? `_${name}` : name;
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
