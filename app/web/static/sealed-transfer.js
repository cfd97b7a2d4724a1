/**
 * A sealed transfer, seen from its depositor: created, opened again with the client key, and shared. Like
 * app/client/sealed_transfer.py. The service sees ciphertext, wrapped keys, and passwords, which open nothing without the
 * links' secrets.
 */

import { fromBase64url, toBase64url } from "./encoding.js";
import { newPassword } from "./password.js";
import { ask, askJson, Refused } from "./session.js";
import { linkProof, newSecret, newTransferKey, unwrapForOwner, wrapForOwner, wrapForShare } from "./wrapping.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */
/** @typedef {{id: string, key: CryptoKey, expiresAt: string}} Transfer */
/**
 * A share as it is shown, once. `mail` is the text to send, with the link; null if the service wrote none.
 * @typedef {{id: string, recipient: string, link: string, password: string, mail: string | null, expiresAt: string}} Share
 */

const NO_CONTENT = 204;
const IDEMPOTENCY_BYTES = 24;
const PASSWORD_GROUP = /-/g;

/** A request that creates something is repeated with its key, and then replaces what was created before. */
export function newIdempotencyKey() {
  return toBase64url(crypto.getRandomValues(new Uint8Array(IDEMPOTENCY_BYTES)));
}

/**
 * @param {object} terms members of the request
 * @param {Bytes} clientKey
 * @param {{idempotencyKey: string, signal: AbortSignal}} request
 * @returns {Promise<Transfer>}
 */
export async function createTransfer(terms, clientKey, { idempotencyKey, signal }) {
  const headers = { "Idempotency-Key": idempotencyKey };
  const json = { ...terms, sealed: true };
  const { id, owner_part, expires_at } = await askJson("/api/v1/transfers", { method: "POST", json, headers, signal });
  const key = await newTransferKey();
  const wrapped = await wrapForOwner(key, { clientKey, ownerPart: fromBase64url(owner_part), transferId: id });
  const wrappedKey = { wrapped_key: toBase64url(wrapped) };
  await ask(`/api/v1/transfers/${id}/key`, { method: "PUT", json: wrappedKey, signal });
  return { id, key, expiresAt: expires_at };
}

/**
 * Recover the key of a transfer. Throws Refused with the code `other_key` if this client key does not open it.
 * @param {{id: string, clientKey: string, expiresAt: string}} kept
 * @param {AbortSignal} [signal]
 * @returns {Promise<Transfer>}
 */
export async function reopenTransfer({ id, clientKey, expiresAt }, signal) {
  const { owner_part, wrapped_key } = await askJson(`/api/v1/transfers/${id}/key`, { signal });
  const owner = { clientKey: fromBase64url(clientKey), ownerPart: fromBase64url(owner_part), transferId: id };
  try {
    return { id, expiresAt, key: await unwrapForOwner({ ...owner, wrappedKey: fromBase64url(wrapped_key) }) };
  } catch {
    throw new Refused(409, { code: "other_key" });
  }
}

/**
 * Return the secrets of a share to be issued, so that repeating the request repeats them.
 * @param {string} recipient
 */
export function newShare(recipient) {
  return { recipient, password: newPassword(), linkSecret: newSecret(), idempotencyKey: newIdempotencyKey() };
}

/**
 * Issue a share: the service prepares it, and the wrapped key opens it.
 * @param {Transfer} transfer
 * @param {ReturnType<typeof newShare>} share
 * @param {string} language of the text to mail
 * @param {AbortSignal} [signal]
 * @returns {Promise<Share>}
 */
export async function issue(transfer, { recipient, password, linkSecret, idempotencyKey }, language, signal) {
  const headers = { "Idempotency-Key": idempotencyKey, "Accept-Language": language };
  const path = `/api/v1/transfers/${transfer.id}/shares`;
  const prepared = await askJson(path, { method: "POST", json: { recipient, password }, headers, signal });
  const { share_id: id, server_part, page, mail, expires_at } = prepared;
  const serverPart = fromBase64url(server_part);
  const wrapped = await wrapForShare(transfer.key, { linkSecret, serverPart, transferId: transfer.id, shareId: id });
  const json = { wrapped_key: toBase64url(wrapped), link_proof: await linkProof(linkSecret) };
  try {
    await ask(`/api/v1/shares/${id}/key`, { method: "PUT", json, signal });
  } catch (error) {
    if (error instanceof Refused) await withdraw(id, "other").catch(() => {}); // prepared, it would delay the early end
    throw error;
  }
  const link = `${page}#sealed.${toBase64url(linkSecret)}`;
  return { id, recipient, link, password, mail: withLink(mail, { page, link, password }), expiresAt: expires_at };
}

/**
 * Put the link into the service's text. Null without a text, or if it could mislead: without the place of the link, or
 * with the password.
 * @param {unknown} text
 * @param {{page: string, link: string, password: string}} share
 */
function withLink(text, { page, link, password }) {
  if (typeof text !== "string" || text.split(page).length !== 2) return null;
  if (text.includes(password) || text.includes(password.replace(PASSWORD_GROUP, ""))) return null;
  return text.split(page).join(link);
}

/**
 * @param {string} shareId
 * @param {string} reason
 */
export async function withdraw(shareId, reason) {
  await ask(`/api/v1/shares/${shareId}?reason=${reason}`, { method: "DELETE" });
}

/**
 * Delete a transfer, and return whether the service saw its keys destroyed; if not, its sweeps destroy them.
 * @param {string} transferId
 * @param {string} reason
 */
export async function deleteTransfer(transferId, reason) {
  return (await ask(`/api/v1/transfers/${transferId}?reason=${reason}`, { method: "DELETE" })).status === NO_CONTENT;
}
