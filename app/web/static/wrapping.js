/**
 * Wraps and unwraps a transfer key: for a recipient with the link's secret and the service's part, for the depositor
 * with the client key and the service's part (docs/security.md; tested against tests/vectors/wrapping.json). Only
 * WebCrypto computes with the transfer key: scripts never have its bytes. A recipient's cannot be exported at all.
 */

import { ascii, joined, toBase64url } from "./encoding.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */

/** @typedef {{linkSecret: Bytes, serverPart: Bytes, transferId: string, shareId: string}} ShareKey */
/** @typedef {{clientKey: Bytes, ownerPart: Bytes, transferId: string}} OwnerKey */

const NONCE_BYTES = 12;
const SECRET_BYTES = 32;

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
 * Return a fresh transfer key. It can be exported only so that WebCrypto can wrap it: no script reads its bytes.
 * @returns {Promise<CryptoKey>}
 */
export function newTransferKey() {
  return crypto.subtle.generateKey({ ...TRANSFER_KEY, length: 256 }, true, ["sign"]);
}

/** @returns {Bytes} a link secret or a client key */
export function newSecret() {
  return crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
}

/**
 * Return the transfer key of a share; it cannot be exported. Rejects if link, `serverPart` and `wrappedKey` do not
 * match.
 * @param {ShareKey & {wrappedKey: Bytes}} share
 * @returns {Promise<CryptoKey>}
 */
export async function openShare({ wrappedKey, ...share }) {
  return unwrapped(wrappedKey, await shareKey(share), shareLabel(share), false);
}

/**
 * Wrap the transfer key for a recipient.
 * @param {CryptoKey} transferKey
 * @param {ShareKey} share
 */
export async function wrapForShare(transferKey, share) {
  return wrapped(transferKey, await shareKey(share), shareLabel(share));
}

/**
 * Wrap the transfer key for its depositor.
 * @param {CryptoKey} transferKey
 * @param {OwnerKey} owner
 */
export async function wrapForOwner(transferKey, owner) {
  return wrapped(transferKey, await ownerKey(owner), `caducee/v1 owner ${owner.transferId}`);
}

/**
 * Return the transfer key of `wrapForOwner`, so that it can be wrapped for another recipient. Rejects if client key,
 * `ownerPart` and `wrappedKey` do not match.
 * @param {OwnerKey & {wrappedKey: Bytes}} owner
 */
export async function unwrapForOwner({ wrappedKey, ...owner }) {
  return unwrapped(wrappedKey, await ownerKey(owner), `caducee/v1 owner ${owner.transferId}`, true);
}

/** @param {ShareKey} share */
function shareKey({ linkSecret, serverPart, shareId }) {
  return wrappingKey(joined(linkSecret, serverPart), shareId, "caducee/v1 share key");
}

/** @param {ShareKey} share */
function shareLabel({ transferId, shareId }) {
  return `caducee/v1 share ${transferId} ${shareId}`;
}

/** @param {OwnerKey} owner */
function ownerKey({ clientKey, ownerPart, transferId }) {
  return wrappingKey(joined(clientKey, ownerPart), transferId, "caducee/v1 owner key");
}

/**
 * @param {Bytes} secret
 * @param {string} salt
 * @param {string} info
 */
async function wrappingKey(secret, salt, info) {
  const bits = await hkdf(secret, ascii(salt), info);
  return crypto.subtle.importKey("raw", bits, "AES-GCM", false, ["wrapKey", "unwrapKey"]);
}

/**
 * @param {CryptoKey} transferKey
 * @param {CryptoKey} by
 * @param {string} label
 * @returns {Promise<Bytes>}
 */
async function wrapped(transferKey, by, label) {
  const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealing = { name: "AES-GCM", iv, additionalData: ascii(label) };
  return joined(iv, new Uint8Array(await crypto.subtle.wrapKey("raw", transferKey, by, sealing)));
}

/**
 * @param {Bytes} wrappedKey
 * @param {CryptoKey} by
 * @param {string} label
 * @param {boolean} again whether the key can be wrapped again
 */
function unwrapped(wrappedKey, by, label, again) {
  const sealing = { name: "AES-GCM", iv: wrappedKey.subarray(0, NONCE_BYTES), additionalData: ascii(label) };
  return crypto.subtle.unwrapKey("raw", wrappedKey.subarray(NONCE_BYTES), by, sealing, TRANSFER_KEY, again, ["sign"]);
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
