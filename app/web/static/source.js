/**
 * A file that is encrypted while it is uploaded, and again from any place after a failure, without using a nonce for
 * another plaintext: like app/client/source.py.
 *
 * The SHA-256 of each slice of 1 MiB is kept before anything of the slice is sent. What was encrypted before is encrypted again
 * only if the file still holds the same bytes. A file whose digests were not kept gets another salt.
 */

import { fileContext } from "./chunked.js";
import { fromBase64url, same } from "./encoding.js";
import { sealedSize, sealer, sliceAt, sliceStart, SLICE_BYTES } from "./sealing.js";
import { crc32 } from "./zip.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */
/** @typedef {import("./kept.js").KeptFile} KeptFile */
/**
 * A part of the ciphertext: whole slices, of which `skipped` bytes belong to the part before. `end` is where it ends.
 * @typedef {{slices: Bytes[], skipped: number, start: number, end: number}} Part
 */

/** Slices that are read again and only compared. */
const READ_AT_ONCE = 16;

/** A file is not the one that was sent before, or cannot be read any more. */
export class FileChanged extends Error {
  /** @param {{name: string, path: string}} file */
  constructor(file) {
    super();
    this.file = file;
  }
}

export class Source {
  #crc = 0;
  #crcSlices = 0;

  /**
   * @param {{file: File, kept: KeptFile, seal: (index: number, plain: Bytes) => Promise<Bytes>, digests: Bytes[],
   *   keepDigests: (first: number, digests: Bytes[]) => Promise<void>}} made
   */
  constructor({ file, kept, seal, digests, keepDigests }) {
    this.file = file;
    this.kept = kept;
    this.seal = seal;
    this.digests = digests;
    this.keepDigests = keepDigests;
    this.slices = Math.floor(file.size / SLICE_BYTES) + 1;
    this.sealedSize = sealedSize(file.size);
  }

  /**
   * @param {{transferKey: CryptoKey, transferId: string, number: number, kept: KeptFile, file: File,
   *   keeper: import("./kept.js").Keeper}} given
   */
  static async of({ transferKey, transferId, number, kept, file, keeper }) {
    const seal = await sealer(transferKey, fileContext(transferId, number), fromBase64url(kept.salt));
    const digests = await keeper.digests(transferId, number);
    const keepDigests = (/** @type {number} */ first, /** @type {Bytes[]} */ more) =>
      keeper.keepDigests(transferId, number, first, more);
    return new Source({ file, kept, seal, digests, keepDigests });
  }

  /** The CRC-32 of the file, once all of it was read; null before. */
  get crc32() {
    return this.#crcSlices === this.slices ? this.#crc : null;
  }

  /**
   * Return where a part ends that begins at byte `start` and has at most `most` slices.
   * @param {number} start
   * @param {number} most
   */
  endOf(start, most) {
    const stop = sliceAt(start) + most;
    return stop >= this.slices ? this.sealedSize : sliceStart(stop);
  }

  /**
   * Return the ciphertext from byte `start` on, of at most `most` slices. One part at a time. Throws FileChanged.
   * @param {number} start
   * @param {number} most
   * @returns {Promise<Part>}
   */
  async part(start, most) {
    const first = sliceAt(start);
    if (start > sliceStart(first) && first >= this.digests.length) throw new FileChanged(this.kept); // sent, but not known
    while (this.#crcSlices < first) { // this tab has not read them
      const unread = this.#crcSlices;
      await (await this.#checked(unread, Math.min(READ_AT_ONCE, first - unread))).kept;
    }
    const { plain, kept } = await this.#checked(first, Math.min(most, this.slices - first));
    const [, ...slices] = await Promise.all([kept, ...plain.map((slice, index) => this.seal(first + index, slice))]);
    return { slices, skipped: start - sliceStart(first), start, end: this.endOf(start, most) };
  }

  /**
   * Read and check slices.
   * @param {number} first
   * @param {number} count
   */
  async #checked(first, count) {
    const plain = await this.#read(first, count);
    const check = this.#check(first, plain);
    plain.forEach((slice, index) => this.#count(first + index, slice)); // while other threads compute the digests
    return { plain, ...(await check) };
  }

  /**
   * Compare slices with what was encrypted before, and begin to keep the digests of new ones. Nothing of them may leave
   * this tab before `kept` resolves.
   * @param {number} first
   * @param {Bytes[]} plain
   */
  async #check(first, plain) {
    const found = await Promise.all(plain.map((slice) => crypto.subtle.digest("SHA-256", slice)));
    const digests = found.map((digest) => new Uint8Array(digest));
    const before = Math.max(0, Math.min(this.digests.length - first, digests.length));
    for (let index = 0; index < before; index += 1) {
      if (!same(digests[index], this.digests[first + index])) throw new FileChanged(this.kept);
    }
    const fresh = digests.slice(before);
    if (fresh.length === 0) return { kept: Promise.resolve() };
    if (first + before !== this.digests.length) throw new FileChanged(this.kept); // what lies between was sent, but is not known
    const kept = this.keepDigests(this.digests.length, fresh);
    this.digests.push(...fresh);
    return { kept };
  }

  /**
   * @param {number} index
   * @param {Bytes} plain
   */
  #count(index, plain) {
    if (index !== this.#crcSlices) return;
    this.#crc = crc32(plain, this.#crc);
    this.#crcSlices += 1;
  }

  /**
   * Read slices, in one request to the browser.
   * @param {number} first
   * @param {number} count
   */
  async #read(first, count) {
    const from = first * SLICE_BYTES;
    const length = Math.min(count * SLICE_BYTES, this.file.size - from);
    const read = await this.file.slice(from, from + length).arrayBuffer().catch(() => null);
    if (read?.byteLength !== length) throw new FileChanged(this.kept); // browsers refuse to read a file that was changed
    const plain = [];
    for (let at = 0; at < length || plain.length < count; at += SLICE_BYTES) {
      plain.push(new Uint8Array(read, at, Math.min(SLICE_BYTES, length - at)));
    }
    return plain;
  }
}
