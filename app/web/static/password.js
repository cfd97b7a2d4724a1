/**
 * Normalises a typed password, like `normalise` in app/crypto/password.py, tested against the same vectors. An error
 * reported here costs no attempt. Generates the password of a sealed share, like `new_password` there.
 */

/** White space, dashes and invisible characters. */
const FILLER = /[\s\p{Z}\p{Pd}\p{Cf}\u2212]/gu;
const PASSWORD_CHARS = 16;
const CROCKFORD = /^[0-9A-HJKMNP-TV-Z]$/;

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUP = /.{4}(?=.)/g;

/** @type {Record<string, string>} */
const MISREAD = { O: "0", I: "1", L: "1" };

/**
 * @typedef {{password: string}} Right
 * @typedef {{problem: string, values: Record<string, string | number>}} Wrong
 */

/** Return a fresh password of 80 random bits, written as `XXXX-XXXX-XXXX-XXXX`. */
export function newPassword() {
  const random = crypto.getRandomValues(new Uint8Array(PASSWORD_CHARS));
  return Array.from(random, (byte) => ALPHABET[byte % ALPHABET.length]).join("").replace(GROUP, "$&-");
}

/**
 * @param {string} typed
 * @returns {Right | Wrong}
 */
export function readPassword(typed) {
  const kept = [...typed.replace(FILLER, "")];
  // Before toUpperCase, which turns some foreign letters into ASCII ones.
  const read = kept.map((character) => (character <= "\x7e" ? character.toUpperCase() : character));
  const written = read.map((character) => MISREAD[character] ?? character);
  const alien = written.findIndex((character) => !CROCKFORD.test(character));
  if (kept.length === 0) return { problem: "password_empty", values: {} };
  if (alien >= 0) return { problem: "password_alien", values: { character: kept[alien] } };
  if (written.length !== PASSWORD_CHARS) return { problem: "password_length", values: { typed: written.length } };
  return { password: written.join("") };
}
