/**
 * Reads a link as mail programs and people leave it: percent-encoded, wrapped over lines, quoted, with invisible
 * characters, or inside the address of a gateway that checks links. Like `Link.parse` in app/client/link.py, which
 * explains the rules; both are tested against tests/vectors/links.json.
 */

/** @typedef {{origin: string, shareId: string, sealed: boolean, secret: string}} FoundLink */

const PAGE = /https?:\/\/[^\s/?#]+\/s\/(?:([A-Za-z0-9_-]{22})(?![A-Za-z0-9_-]))?/i;
const SECRET = "(sealed\\.)?([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])(?![_-]*[A-Za-z0-9])";
const LINK = new RegExp(`([Hh][Tt]{2}[Pp][Ss]?://[^\\s/?#]+)/[Ss]/([A-Za-z0-9_-]{22})/?(?:\\?[^\\s#*]*)?[#*]${SECRET}`);
const SECRET_ALONE = new RegExp(`^[^A-Za-z0-9_-]*${SECRET}[^A-Za-z0-9]*$`);
const ESCAPED = /(?:%[0-9a-f]{2})+/gi;
const ENCODED_TWICE = 3;
/** Invisible characters, and the backslashes of Markdown. */
const NOISE = /[\p{Cf}\\]/gu;
const HASH_ENTITY = /&(?:#35|#x23|num);/gi;
/** Typographic hyphens and the minus sign, which text programs put for `-`. */
const HYPHEN = /[\u2010\u2011\u2212]/g;
/** With the mark of a soft break (RFC 2045, 6.7), and those of a quoted reply. */
const LINE_END = /[^\S\r\n]*=?[\r\n]+[\s>|]*/;
const MOST_LINES = 8;
const PROOFPOINT = /urldefense\.proofpoint\.com\/v2\/url\?u=([^&\s]+)/;

/**
 * Return the first link in a text; null if there is none, or its secret is incomplete.
 * @param {string} text
 * @returns {FoundLink | null}
 */
export function readLink(text) {
  for (const reading of readings(plain(text))) {
    const found = LINK.exec(reading);
    if (found) return { origin: found[1].toLowerCase(), shareId: found[2], sealed: found[3] !== undefined, secret: found[4] };
  }
  return null;
}

/**
 * Return a secret that was copied without the rest of its link.
 * @param {string} text
 * @returns {{sealed: boolean, secret: string} | null}
 */
export function readSecret(text) {
  const found = SECRET_ALONE.exec(plain(text));
  return found && { sealed: found[1] !== undefined, secret: found[2] };
}

/**
 * Return the part at fault in a text without a whole link: the id before `#`, the secret after it, or none of a link.
 * @param {string} text
 * @returns {"none" | "id" | "secret"}
 */
export function damagedPart(text) {
  const pages = [...readings(plain(text))].map((reading) => PAGE.exec(reading)).filter((found) => found !== null);
  if (pages.length === 0) return "none";
  return pages.some((found) => found?.[1]) ? "secret" : "id";
}

/** @param {string} text */
function plain(text) {
  const wrapped = PROOFPOINT.exec(text);
  let read = wrapped ? unwrapped(wrapped[1]) : text;
  for (let round = 0; round < ENCODED_TWICE; round += 1) read = read.replace(ESCAPED, decoded);
  return read.replace(HASH_ENTITY, "#").replace(HYPHEN, "-").replace(NOISE, "");
}

/**
 * Undo the encoding of Proofpoint's URL Defense, version 2.
 * @param {string} text
 */
function unwrapped(text) {
  return text.replaceAll("_", "/").replace(/-([0-9A-F]{2})/g, (_, code) => String.fromCharCode(parseInt(code, 16)));
}

/** @param {string} escapes */
function decoded(escapes) {
  return new TextDecoder().decode(Uint8Array.from(escapes.slice(1).split("%"), (code) => parseInt(code, 16)));
}

/**
 * Yield the text as it is, then with one line end less at a time, then without any white space.
 * @param {string} text
 */
function* readings(text) {
  const start = text.search(/https?:/i);
  let rest = start < 0 ? text : text.slice(start);
  yield text;
  for (let line = 0; line < MOST_LINES && LINE_END.test(rest); line += 1) {
    rest = rest.replace(LINE_END, "");
    yield rest;
  }
  yield text.replace(/\s+/g, "");
}
