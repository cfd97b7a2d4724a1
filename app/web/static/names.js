/**
 * File names from a depositor's program: shown as text, and made safe to become a file on the reader's disk. The service
 * refuses such names where it sees them; in sealed transfers it sees none.
 */

const LONGEST = 180;
/** Control characters, halves of surrogate pairs, marks that turn text around or hide it, and what separates folders. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}/\\:*?"<>|]/gu;
/** Windows gives these to devices, with whatever extension. */
const DEVICE = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)/i;

/**
 * @param {unknown} given
 * @param {number} number of the file, for a name that has nothing left
 * @returns {string}
 */
export function safeName(given, number) {
  const plain = String(given ?? "").replace(UNSAFE, "_").replace(/^[\s.]+|[\s.]+$/g, "");
  const name = shortened(plain) || `file-${number + 1}`;
  return DEVICE.test(name) ? `_${name}` : name;
}

/**
 * Cut the middle of a long name out, and keep its extension.
 * @param {string} name
 */
function shortened(name) {
  const characters = [...name];
  if (characters.length <= LONGEST) return name;
  return [...characters.slice(0, LONGEST - 41), "…", ...characters.slice(-40)].join("");
}
