/**
 * The file format: C2SP chunked encryption, Cobblestone-256 (c2sp.org/chunked-encryption), decrypted while it streams.
 * `sealing.js`, which the recipient's page does not load, encrypts.
 *
 * `salt(24) || commitment(32) || chunks`; every chunk is 16 KiB of plaintext in AES-256-GCM, the last one shorter. The
 * commitment is checked before anything is decrypted; a stream without a short last chunk was truncated. Tested against
 * tests/vectors/chunked-encryption.json. WebCrypto is fastest with several chunks in flight: 64 are decrypted at once.
 */

import { ascii, joined, same } from "./encoding.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */
/** @typedef {{key: CryptoKey, baseNonce: Bytes}} FileKey */

export const CHUNK_BYTES = 16_384;
export const TAG_BYTES = 16;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
export const SALT_BYTES = 24;
const COMMITMENT_BYTES = 32;
export const HEADER_BYTES = SALT_BYTES + COMMITMENT_BYTES;
const NONCE_BYTES = 12;
const KEY_BYTES = 32;
const LABEL = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

/** Chunks per piece (1 MiB), and pieces decrypted ahead of their reader. */
export const PIECE_CHUNKS = 64;
const PIECES_AHEAD = 3;

/** The stream was altered or truncated, or has another key or context. No later byte may be used. */
export class Damaged extends Error {}

/**
 * @param {string} transferId
 * @param {number} number
 */
export function fileContext(transferId, number) {
  return `caducee/v1 file ${transferId} ${number}`;
}

/**
 * @param {string} transferId
 * @param {number} number
 */
export function metaContext(transferId, number) {
  return `caducee/v1 meta ${transferId} ${number}`;
}

/**
 * Decrypt a stream. Yields verified pieces of at most 1 MiB, in order. Throws Damaged at the first wrong chunk, and at
 * the end of a truncated stream.
 * @param {CryptoKey} transferKey as returned by `openShare`
 * @param {string} context
 * @param {AsyncIterable<Uint8Array>} ciphertext in pieces of any length
 * @returns {AsyncGenerator<Bytes, void, void>}
 */
export async function* opened(transferKey, context, ciphertext) {
  const reader = new ExactReader(ciphertext);
  try {
    const fileKey = await openFileKey(transferKey, context, await reader.fill(new Uint8Array(HEADER_BYTES)));
    // One buffer for all pieces: WebCrypto copies its input before `decrypt` returns its promise.
    const buffer = new Uint8Array(PIECE_CHUNKS * SEALED_CHUNK_BYTES);
    /** @type {Promise<Bytes>[]} */
    const ahead = [];
    for (let first = 0, more = true; more; first += PIECE_CHUNKS) {
      const sealed = await reader.fill(buffer);
      more = sealed.length === buffer.length;
      if (!more && sealed.length % SEALED_CHUNK_BYTES < TAG_BYTES) throw new Damaged("truncated");
      const piece = openPiece(fileKey, first, sealed);
      piece.catch(() => {}); // awaited below, in order; until then it must not count as unhandled
      ahead.push(piece);
      if (ahead.length > PIECES_AHEAD) yield /** @type {Bytes} */ (await ahead.shift());
    }
    for (const piece of ahead) yield await piece;
  } finally {
    await reader.cancel();
  }
}

/**
 * Decrypt small data, such as a file's name, in one call.
 * @param {CryptoKey} transferKey
 * @param {string} context
 * @param {Bytes} sealed
 * @returns {Promise<Bytes>}
 */
export async function openedWhole(transferKey, context, sealed) {
  /** @type {Bytes[]} */
  const pieces = [];
  const whole = (async function* () {
    yield sealed;
  })();
  for await (const piece of opened(transferKey, context, whole)) pieces.push(piece);
  return joined(...pieces);
}

/**
 * Derive the key and base nonce of one stream and check its commitment.
 * @param {CryptoKey} transferKey
 * @param {string} context
 * @param {Bytes} header
 * @returns {Promise<FileKey>}
 */
async function openFileKey(transferKey, context, header) {
  if (header.length < HEADER_BYTES) throw new Damaged("truncated");
  const derived = await fileKeyOf(transferKey, context, header.subarray(0, SALT_BYTES), "decrypt");
  if (!same(derived.commitment, header.subarray(SALT_BYTES))) throw new Damaged("another key or context");
  return derived;
}

/**
 * Derive the key, base nonce and commitment of one stream.
 * @param {CryptoKey} transferKey
 * @param {string} context
 * @param {Bytes} salt
 * @param {"encrypt" | "decrypt"} use
 * @returns {Promise<FileKey & {commitment: Bytes}>}
 */
export async function fileKeyOf(transferKey, context, salt, use) {
  const info = joined(ascii(LABEL), salt, ascii(context));
  const stream = await expanded(transferKey, info, KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES);
  const key = await crypto.subtle.importKey("raw", stream.subarray(0, KEY_BYTES), "AES-GCM", false, [use]);
  const baseNonce = stream.slice(KEY_BYTES, KEY_BYTES + NONCE_BYTES);
  return { key, baseNonce, commitment: stream.slice(KEY_BYTES + NONCE_BYTES) };
}

/**
 * HKDF-Expand-SHA512 (RFC 5869, 2.3), which WebCrypto offers only together with Extract.
 * @param {CryptoKey} key
 * @param {Bytes} info
 * @param {number} length in bytes
 * @returns {Promise<Bytes>}
 */
async function expanded(key, info, length) {
  let block = new Uint8Array();
  let all = new Uint8Array();
  for (let counter = 1; all.length < length; counter += 1) {
    block = new Uint8Array(await crypto.subtle.sign("HMAC", key, joined(block, info, Uint8Array.of(counter))));
    all = joined(all, block);
  }
  return all.subarray(0, length);
}

/**
 * Decrypt the chunks of a piece in parallel.
 * @param {FileKey} fileKey
 * @param {number} first number of the first chunk
 * @param {Bytes} sealed may be reused once this has returned its promise
 * @returns {Promise<Bytes>}
 */
async function openPiece({ key, baseNonce }, first, sealed) {
  const count = Math.ceil(sealed.length / SEALED_CHUNK_BYTES);
  const plain = new Uint8Array(sealed.length - count * TAG_BYTES);
  const open = async (/** @type {number} */ index) => {
    const chunk = sealed.subarray(index * SEALED_CHUNK_BYTES, (index + 1) * SEALED_CHUNK_BYTES);
    const parameters = { name: "AES-GCM", iv: nonceOf(baseNonce, first + index) };
    plain.set(new Uint8Array(await crypto.subtle.decrypt(parameters, key, chunk)), index * CHUNK_BYTES);
  };
  try {
    await Promise.all(Array.from({ length: count }, (_, index) => open(index)));
  } catch {
    throw new Damaged("altered");
  }
  return plain;
}

/**
 * Return the base nonce XOR the chunk's number, big-endian.
 * @param {Bytes} baseNonce
 * @param {number} number below 2^53
 * @returns {Bytes}
 */
export function nonceOf(baseNonce, number) {
  const nonce = baseNonce.slice();
  const tail = new DataView(nonce.buffer, NONCE_BYTES - 8);
  tail.setBigUint64(0, tail.getBigUint64(0) ^ BigInt(number));
  return nonce;
}

/** Turns pieces of any length into full buffers; only the last one may be shorter. */
class ExactReader {
  /** @param {AsyncIterable<Uint8Array>} pieces */
  constructor(pieces) {
    this.pieces = pieces[Symbol.asyncIterator]();
    /** @type {Uint8Array} */
    this.rest = new Uint8Array();
  }

  /**
   * Fill a buffer and return the part of it that was filled.
   * @param {Bytes} buffer
   * @returns {Promise<Bytes>}
   */
  async fill(buffer) {
    let filled = 0;
    while (filled < buffer.length) {
      if (this.rest.length === 0) {
        const next = await this.pieces.next();
        if (next.done) break;
        this.rest = next.value;
      }
      const part = this.rest.subarray(0, buffer.length - filled);
      buffer.set(part, filled);
      filled += part.length;
      this.rest = this.rest.subarray(part.length);
    }
    return buffer.subarray(0, filled);
  }

  async cancel() {
    await this.pieces.return?.();
  }
}
