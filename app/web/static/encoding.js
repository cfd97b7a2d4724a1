/**
 * Text encodings of bytes in links, JSON and file formats: base64url without padding, labels in ASCII.
 */

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/**
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function toBase64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * @param {string} text
 * @returns {Bytes}
 */
export function fromBase64url(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
}

/**
 * @param {string} text
 * @returns {Bytes}
 */
export function ascii(text) {
  return new TextEncoder().encode(text);
}

/**
 * @param {Uint8Array[]} parts
 * @returns {Bytes}
 */
export function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Compare two values in constant time.
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
export function same(one, other) {
  let difference = one.length ^ other.length;
  for (let at = 0; at < one.length; at += 1) difference |= one[at] ^ other[at % other.length];
  return difference === 0;
}
