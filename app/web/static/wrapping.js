/**
 * Derives a share's transfer key from the link's secret and the service's part (docs/security.md; tested against
 * tests/vectors/wrapping.json). Only WebCrypto computes it, and scripts never have the transfer key's bytes: it is
 * unwrapped into a key that cannot be exported.
 */

import { ascii, joined, toBase64url } from "./encoding.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */

const NONCE_BYTES = 12;

/** The transfer key as the file format uses it: an HMAC key, for HKDF-Expand. */
export const TRANSFER_KEY = { name: "HMAC", hash: "SHA-512" };

/**
 * Return the proof of the link, which does not reveal its secret.
 * @param {Bytes} linkSecret
 * @returns {Promise<string>}
 */
export async function linkProof(linkSecret) {
  return toBase64url(await hkdf(linkSecret, new Uint8Array(), "caducee/v1 link proof"));
}

/**
 * Return the transfer key of a share; it cannot be exported. Rejects if link, `serverPart` and `wrappedKey` do not
 * match.
 * @param {{linkSecret: Bytes, serverPart: Bytes, wrappedKey: Bytes, transferId: string, shareId: string}} share
 * @returns {Promise<CryptoKey>}
 */
export async function openShare({ linkSecret, serverPart, wrappedKey, transferId, shareId }) {
  const bits = await hkdf(joined(linkSecret, serverPart), ascii(shareId), "caducee/v1 share key");
  const shareKey = await crypto.subtle.importKey("raw", bits, "AES-GCM", false, ["unwrapKey"]);
  const sealing = {
    name: "AES-GCM",
    iv: wrappedKey.subarray(0, NONCE_BYTES),
    additionalData: ascii(`caducee/v1 share ${transferId} ${shareId}`),
  };
  const wrapped = wrappedKey.subarray(NONCE_BYTES);
  return crypto.subtle.unwrapKey("raw", wrapped, shareKey, sealing, TRANSFER_KEY, false, ["sign"]);
}

/**
 * HKDF-SHA512 with 32 bytes out (RFC 5869).
 * @param {Bytes} secret
 * @param {Bytes} salt
 * @param {string} info
 * @returns {Promise<Bytes>}
 */
async function hkdf(secret, salt, info) {
  const key = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  const parameters = { name: "HKDF", hash: "SHA-512", salt, info: ascii(info) };
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, key, 256));
}
