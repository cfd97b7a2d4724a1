/**
 * Uploads one sealed file in parts (tus 1.0.0, docs/http-api.md) until the service has all of it, whatever breaks off in
 * between. While a part is sent, the next one is read and encrypted.
 */

import { metaContext } from "./chunked.js";
import { toBase64url } from "./encoding.js";
import { NotKept } from "./kept.js";
import { newSalt, sealedSize, sealedWhole } from "./sealing.js";
import { ask, Cut, Refused } from "./session.js";
import { Source } from "./source.js";

/** @typedef {import("./kept.js").KeptFile} KeptFile */
/** @typedef {import("./sealed-transfer.js").Transfer} Transfer */
/** @typedef {import("./source.js").Part} Part */

const TUS = { "Tus-Resumable": "1.0.0" };
const MOST_SLICES = 8;
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
  /** @type {Promise<Part> | null} */
  let next = null;
  while (at < source.sealedSize) {
    moved(at);
    /** @type {Part} */
    const part = await (next ?? source.part(at, slices));
    next = part.end < source.sealedSize ? source.part(part.end, slices) : null;
    next?.catch(() => {}); // awaited in the next round
    try {
      await patience.control.open();
      const began = performance.now();
      await send(upload, source, part);
      slices = suited(slices, performance.now() - began);
      at = part.end;
      patience.renew();
    } catch (error) {
      await next?.catch(() => {}); // one part is read at a time
      next = null;
      if (!(error instanceof Refused && error.code === "wrong_offset")) await patience.after(error);
      at = await offset();
    }
  }
  moved(source.sealedSize);
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
 * @param {Part} part
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
  const body = new Blob([part.bytes]); // Chromium sends a blob many times faster than bytes
  const { signal } = patience.control;
  await ask(kept.upload, { method: "PATCH", body, headers, signal, within: PART_WITHIN_MS });
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
