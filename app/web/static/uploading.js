/**
 * Uploads one sealed file in parts (tus 1.0.0, docs/http-api.md) until the service has all of it, whatever breaks off in
 * between. While a part is sent, the next ones are read and encrypted.
 */

import { metaContext } from "./chunked.js";
import { toBase64url } from "./encoding.js";
import { NotKept } from "./kept.js";
import { newSalt, sealedSize, sealedWhole } from "./sealing.js";
import { ask, Cut, Refused } from "./session.js";
import { Source } from "./source.js";

/** @typedef {import("./kept.js").KeptFile} KeptFile */
/** @typedef {import("./sealed-transfer.js").Transfer} Transfer */
/** A part that can be sent. @typedef {{body: Blob, start: number, end: number}} Ready */

const TUS = { "Tus-Resumable": "1.0.0" };
const MOST_SLICES = 16;
/** Prepared, or being prepared, while another part is sent. */
const PARTS_AHEAD = 2;
const QUICK_MS = 1_500;
const SLOW_MS = 6_000;
const PART_WITHIN_MS = 900_000;
const UPLOADS = "/api/v1/uploads/";
const NOT_FOUND = 404;

/**
 * @typedef {{transfer: Transfer, number: number, kept: KeptFile, file: File, keeper: import("./kept.js").Keeper,
 *   save: () => Promise<void>, moved: (at: number) => void, patience: import("./control.js").Patience}} Upload
 * `moved` is told how many bytes of the ciphertext have arrived
 */

/**
 * Upload a file, or what is missing of it. Throws FileChanged, Refused, Cancelled.
 * @param {Upload} upload
 */
export async function upload(upload) {
  const { kept, patience, save } = upload;
  for (;;) {
    if (!kept.upload) await begin(upload);
    try {
      await sendMissing(upload, await sourceOf(upload));
      kept.done = true;
      return await save();
    } catch (error) {
      if (error instanceof NotKept) await giveUp(upload);
      else if (!(error instanceof Refused && error.status === NOT_FOUND)) throw error;
      kept.upload = ""; // removed now, or expired between two parts: again, under another salt
      patience.renew();
    }
  }
}

/** @param {Upload} upload */
async function begin({ transfer, number, kept, keeper, patience, save }) {
  await keeper.forgetDigests(transfer.id, number);
  kept.salt = toBase64url(newSalt());
  const sealedMeta = await sealMeta(transfer, number, kept, null);
  kept.upload = await patience.until((signal) => announce(transfer, number, { sealedMeta, size: kept.size, signal }));
  await save();
}

/**
 * Remove an upload whose digests are not stored, and store nothing more: what the browser has kept of it opens no upload.
 * @param {Upload} upload
 */
async function giveUp({ kept, keeper, patience }) {
  const gone = (/** @type {unknown} */ error) => {
    if (!(error instanceof Refused && error.status === NOT_FOUND)) throw error;
  };
  await patience.until((signal) => ask(kept.upload, { method: "DELETE", headers: TUS, signal }).then(() => {}, gone));
  keeper.stop();
}

/** @param {Upload} upload */
function sourceOf({ transfer, number, kept, file, keeper }) {
  return Source.of({ transferKey: transfer.key, transferId: transfer.id, number, kept, file, keeper });
}

/**
 * @param {Upload} upload
 * @param {Source} source
 */
async function sendMissing(upload, source) {
  const { kept, patience, moved } = upload;
  const offset = () => patience.until((signal) => whereItStands(kept.upload, signal));
  let slices = 1;
  let at = await offset();
  let ahead = new Ahead(source, at);
  while (at < source.sealedSize) {
    moved(at);
    const part = await ahead.next(slices);
    try {
      await patience.control.open();
      const began = performance.now();
      await send(upload, source, part);
      slices = suited(slices, performance.now() - began);
      at = part.end;
      patience.renew();
    } catch (error) {
      await ahead.stopped();
      if (!(error instanceof Refused && error.code === "wrong_offset")) await patience.after(error);
      at = await offset();
      ahead = new Ahead(source, at);
    }
  }
  moved(source.sealedSize);
}

/** The parts of a source from a byte on. They are prepared one after the other, some ahead of their sending. */
class Ahead {
  /** @type {Promise<Ready>[]} */
  #parts = [];
  /** @type {Promise<Ready> | null} */
  #last = null;

  /**
   * @param {Source} source
   * @param {number} at
   */
  constructor(source, at) {
    this.source = source;
    this.at = at;
  }

  /**
   * Return the next part, and begin to prepare those after it, of at most `slices` each. Throws as `Source.part`.
   * @param {number} slices
   */
  async next(slices) {
    this.#prepare(slices);
    const part = await /** @type {Promise<Ready>} */ (this.#parts.shift());
    this.#prepare(slices);
    return part;
  }

  /** @param {number} slices */
  #prepare(slices) {
    while (this.#parts.length < PARTS_AHEAD && this.at < this.source.sealedSize) {
      this.#last = ready(this.source, this.at, slices, this.#last);
      this.#last.catch(() => {}); // thrown when it is taken
      this.#parts.push(this.#last);
      this.at = this.source.endOf(this.at, slices);
    }
  }

  /** Resolve once nothing is being prepared any more. */
  async stopped() {
    await Promise.allSettled(this.#parts);
  }
}

/**
 * Prepare a part after the one before it. Its bytes become a blob, which the browser copies to where it sends from.
 * @param {Source} source
 * @param {number} at
 * @param {number} slices
 * @param {Promise<Ready> | null} before
 * @returns {Promise<Ready>}
 */
async function ready(source, at, slices, before) {
  await before;
  const part = await source.part(at, slices);
  return { body: new Blob(part.slices).slice(part.skipped), start: part.start, end: part.end };
}

/**
 * Return how many slices the next part should have, so that it takes a few seconds.
 * @param {number} slices
 * @param {number} took in milliseconds
 */
function suited(slices, took) {
  if (took < QUICK_MS) return Math.min(2 * slices, MOST_SLICES);
  return took > SLOW_MS ? Math.max(1, slices >> 1) : slices;
}

/**
 * Send a part. The last one carries the file's checksum with its name.
 * @param {Upload} upload
 * @param {Source} source
 * @param {Ready} part
 */
async function send({ transfer, number, kept, patience }, source, part) {
  const isLast = part.end === source.sealedSize;
  const sealedMeta = isLast && (await sealMeta(transfer, number, kept, source.crc32));
  const headers = {
    ...TUS,
    "Content-Type": "application/offset+octet-stream",
    "Upload-Offset": String(part.start),
    ...(sealedMeta && { "Caducee-Sealed-Meta": sealedMeta }),
  };
  const { signal } = patience.control;
  await ask(kept.upload, { method: "PATCH", body: part.body, headers, signal, within: PART_WITHIN_MS });
}

/**
 * @param {string} path
 * @param {AbortSignal} signal
 */
async function whereItStands(path, signal) {
  const offset = (await ask(path, { method: "HEAD", headers: TUS, signal })).headers.get("Upload-Offset") ?? "";
  if (!/^\d+$/.test(offset)) throw new Cut(); // not a response of the service
  return Number(offset);
}

/**
 * Announce a file and return its upload's path. Repeated before the first part, it returns the same.
 * @param {Transfer} transfer
 * @param {number} number
 * @param {{sealedMeta: string, size: number, signal: AbortSignal}} file
 */
async function announce(transfer, number, { sealedMeta, size, signal }) {
  const headers = {
    ...TUS,
    "Upload-Length": String(sealedSize(size)),
    "Upload-Metadata": `number ${btoa(String(number))},sealed_meta ${btoa(sealedMeta)}`,
  };
  const path = `/api/v1/transfers/${transfer.id}/uploads`;
  const location = (await ask(path, { method: "POST", headers, signal })).headers.get("Location") ?? "";
  if (!location.startsWith(UPLOADS)) throw new Cut();
  return location;
}

/**
 * @param {Transfer} transfer
 * @param {number} number
 * @param {KeptFile} file
 * @param {number | null} crc32
 */
async function sealMeta(transfer, number, { name, path, type }, crc32) {
  const meta = { name, ...(path && { path }), ...(type && { type }), ...(crc32 !== null && { crc32 }) };
  const plain = new TextEncoder().encode(JSON.stringify(meta));
  return toBase64url(await sealedWhole(transfer.key, metaContext(transfer.id, number), plain));
}
