/**
 * Makes file names from a depositor's client safe to show, and to use on the reader's disk. The service refuses unsafe
 * names, but cannot see those of sealed transfers.
 */

const LONGEST = 180;
/** Control characters, lone surrogates, directional and invisible marks, path separators. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}/\\:*?"<>|]/gu;
/** Reserved by Windows for devices, with any extension. */
const DEVICE = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)/i;

/**
 * @param {unknown} given
 * @param {number} number of the file, used if nothing is left of the name
 * @returns {string}
 */
export function safeName(given, number) {
  const plain = String(given ?? "").replace(UNSAFE, "_").replace(/^[\s.]+|[\s.]+$/g, "");
  const name = shortened(plain) || `file-${number + 1}`;
  return DEVICE.test(name) ? `_${name}` : name;
}

/**
 * Cut out the middle of a long name, keeping its extension.
 * @param {string} name
 */
function shortened(name) {
  const characters = [...name];
  if (characters.length <= LONGEST) return name;
  return [...characters.slice(0, LONGEST - 41), "…", ...characters.slice(-40)].join("");
}
