/**
 * Fetch a file of a claim: its ciphertext, resumed automatically when the connection is cut, and its plaintext.
 */

import { ciphertext, read } from "./api.js";
import { Damaged, fileContext, opened } from "./chunked.js";
import { pause } from "./clock.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */
/** @typedef {{id: string, token: string, transferId: string, key: CryptoKey}} OpenClaim */
/** @typedef {{number: number, size: number, sealedSize: number}} StoredFile */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const TRIES_WITHOUT_A_BYTE = 12;

/** The service refuses permanently: the claim has ended or its allowance is used up. */
export class Gone extends Error {
  /** @param {string} code the service's reason */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** Too many tries in a row received no byte. A retry may help. */
class OutOfReach extends Error {}

/**
 * Yield the file's plaintext. Throws Damaged, Gone or OutOfReach.
 * @param {OpenClaim} claim
 * @param {StoredFile} file
 * @param {{signal: AbortSignal, onCut: (cut: boolean) => void}} options
 * @returns {AsyncGenerator<Bytes, void, void>}
 */
export async function* plaintext(claim, file, options) {
  let size = 0;
  const context = fileContext(claim.transferId, file.number);
  for await (const piece of opened(claim.key, context, resumed(claim, file, options))) {
    size += piece.length;
    yield piece;
  }
  if (size !== file.size) throw new Damaged("not the announced length");
}

/**
 * Yield the ciphertext. When the connection is cut, request the rest, from the first missing byte on.
 * @param {OpenClaim} claim
 * @param {StoredFile} file
 * @param {{signal: AbortSignal, onCut: (cut: boolean) => void}} options
 * @returns {AsyncGenerator<Uint8Array, void, void>}
 */
async function* resumed(claim, file, { signal, onCut }) {
  let from = 0;
  let tries = 0;
  /** @type {string | null} */
  let etag = null;
  while (from < file.sealedSize) {
    /** @type {Response | null} */
    const response = await ciphertext(claim, file.number, { from, etag, signal }).catch(() => null);
    signal.throwIfAborted();
    if (response?.ok) {
      if (from > 0 && response.status !== 206) throw new Damaged("another file than before");
      etag = response.headers.get("ETag");
      for await (const piece of untilCut(response)) {
        if (tries > 0) onCut(false);
        tries = 0;
        from += piece.length;
        yield piece;
      }
      signal.throwIfAborted();
    } else if (response) {
      const code = await finalCode(response);
      if (code) throw new Gone(code);
    }
    if (from >= file.sealedSize) return;
    tries += 1;
    onCut(true);
    if (tries > TRIES_WITHOUT_A_BYTE) throw new OutOfReach();
    await pause(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (tries - 1)));
  }
}

/**
 * Return the code with which the service itself refuses permanently, else ""; a proxy's bare 404 may be temporary.
 * @param {Response} response
 */
async function finalCode(response) {
  const code = (await read(response).catch(() => null))?.code;
  return [404, 409, 410, 416].includes(response.status) && typeof code === "string" ? code : "";
}

/**
 * Yield the body's pieces. A cut connection ends them like the end of the body.
 * @param {Response} response
 * @returns {AsyncGenerator<Uint8Array, void, void>}
 */
async function* untilCut(response) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  try {
    for (;;) {
      const next = await reader.read().catch(() => null);
      if (!next || next.done) return;
      yield next.value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
