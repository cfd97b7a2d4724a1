/**
 * Encrypts files in the format of `chunked.js`, in slices of 64 chunks. Tested against the same vectors.
 */

import { CHUNK_BYTES, fileKeyOf, HEADER_BYTES, nonceOf, PIECE_CHUNKS, SALT_BYTES } from "./chunked.js";
import { SEALED_CHUNK_BYTES, TAG_BYTES } from "./chunked.js";
import { joined } from "./encoding.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */
/** @typedef {import("./chunked.js").FileKey} FileKey */

/** The plaintext of a slice, except the last one, which is shorter and may be empty. */
export const SLICE_BYTES = PIECE_CHUNKS * CHUNK_BYTES;

/**
 * Return the length of a file's ciphertext.
 * @param {number} size of the plaintext
 */
export function sealedSize(size) {
  return HEADER_BYTES + size + TAG_BYTES * (Math.floor(size / CHUNK_BYTES) + 1);
}

/**
 * Return where a slice's ciphertext begins; the header belongs to the first slice.
 * @param {number} index
 */
export function sliceStart(index) {
  return index === 0 ? 0 : HEADER_BYTES + index * PIECE_CHUNKS * SEALED_CHUNK_BYTES;
}

/**
 * Return the slice that holds a byte of the ciphertext.
 * @param {number} offset
 */
export function sliceAt(offset) {
  return Math.max(0, Math.floor((offset - HEADER_BYTES) / (PIECE_CHUNKS * SEALED_CHUNK_BYTES)));
}

/** @returns {Bytes} */
export function newSalt() {
  return crypto.getRandomValues(new Uint8Array(SALT_BYTES));
}

/**
 * Return a function that encrypts the slices of one file, in any order, each with the header where it belongs. Under one
 * salt, a slice may be encrypted again only from the same plaintext: a nonce must not serve twice.
 * @param {CryptoKey} transferKey
 * @param {string} context
 * @param {Bytes} salt
 * @returns {Promise<(index: number, plain: Bytes) => Promise<Bytes>>}
 */
export async function sealer(transferKey, context, salt) {
  const { commitment, ...fileKey } = await fileKeyOf(transferKey, context, salt, "encrypt");
  const header = joined(salt, commitment);
  return async (index, plain) => {
    const sealed = await sealPiece(fileKey, index * PIECE_CHUNKS, plain);
    return index === 0 ? joined(header, sealed) : sealed;
  };
}

/**
 * Encrypt small data, such as a file's name, under a fresh salt.
 * @param {CryptoKey} transferKey
 * @param {string} context
 * @param {Bytes} plain less than a slice
 */
export async function sealedWhole(transferKey, context, plain) {
  return (await sealer(transferKey, context, newSalt()))(0, plain);
}

/**
 * Encrypt the chunks of a slice in parallel. A slice that is not full is the last one, and ends with the short chunk.
 * @param {FileKey} fileKey
 * @param {number} first number of the first chunk
 * @param {Bytes} plain
 * @returns {Promise<Bytes>}
 */
async function sealPiece({ key, baseNonce }, first, plain) {
  const count = plain.length === SLICE_BYTES ? PIECE_CHUNKS : Math.floor(plain.length / CHUNK_BYTES) + 1;
  const sealed = new Uint8Array(plain.length + count * TAG_BYTES);
  const seal = async (/** @type {number} */ index) => {
    const chunk = plain.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
    const parameters = { name: "AES-GCM", iv: nonceOf(baseNonce, first + index) };
    sealed.set(new Uint8Array(await crypto.subtle.encrypt(parameters, key, chunk)), index * SEALED_CHUNK_BYTES);
  };
  await Promise.all(Array.from({ length: count }, (_, index) => seal(index)));
  return sealed;
}
