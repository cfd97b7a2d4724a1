/**
 * The ZIP of several files, made while it is saved: stored, not compressed, so that its length is known in advance.
 * The format is that of app/domain/zip_format.py, which explains it; both are tested against tests/vectors/zip.json.
 */

import { Damaged } from "./chunked.js";
import { joined } from "./encoding.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */
/**
 * @typedef {{name: string, size: number, crc32: number | null}} ZipEntry
 * `name` is a portable path; `crc32` is null for files from older programs, whose checksum follows their content
 */

const LIMIT_16 = 0xffff;
const LIMIT_32 = 0xffffffff;
const PLAIN = 10;
const ZIP64 = 45;
const UTF8 = 1 << 11;
const DESCRIPTOR = 1 << 3;
const UNIX = 3 << 8;
const MODE = 0o100644 * 0x10000;

/**
 * Return the length of an archive in bytes.
 * @param {ZipEntry[]} entries
 */
export function zipSize(entries) {
  let size = 0;
  const checksums = entries.map(() => 0);
  for (const part of parts(entries, checksums, new Date(0))) {
    size += typeof part === "number" ? entries[part].size : part.length;
  }
  return size;
}

/**
 * Yield an archive. Throws Damaged if a content is not that of its checksum, and what the contents throw.
 * @param {ZipEntry[]} entries
 * @param {(index: number) => AsyncIterable<Bytes>} contentOf
 * @param {Date} modified the time that the entries show, in the reader's zone
 * @returns {AsyncGenerator<Bytes, void, void>}
 */
export async function* zipped(entries, contentOf, modified) {
  /** @type {number[]} */
  const checksums = [];
  for (const part of parts(entries, checksums, modified)) {
    if (typeof part !== "number") {
      yield part;
      continue;
    }
    let checksum = 0;
    for await (const piece of contentOf(part)) {
      checksum = crc32(piece, checksum);
      yield piece;
    }
    checksums[part] = checksum;
    const { crc32: stated } = entries[part];
    if (stated !== null && stated !== checksum) throw new Damaged("not the content of its checksum");
  }
}

/**
 * Yield the archive's parts in order: bytes, or the index of the entry whose content stands there.
 * @param {ZipEntry[]} entries
 * @param {number[]} checksums filled in by the caller, before it requests the part after a content
 * @param {Date} modified
 * @returns {Generator<Bytes | number, void, void>}
 */
export function* parts(entries, checksums, modified) {
  let offset = 0;
  /** @type {Bytes[]} */
  const directory = [];
  for (const [index, entry] of entries.entries()) {
    const header = localHeader(entry, modified);
    let length = header.length + entry.size; // before the consumer transfers the header's buffer, which empties it
    yield header;
    yield index;
    const checksum = entry.crc32 ?? checksums[index];
    const after = descriptor(entry, checksum);
    length += after.length;
    if (after.length > 0) yield after;
    directory.push(centralHeader(entry, checksum, offset, modified));
    offset += length;
  }
  const last = end(directory.length, directory.reduce((size, header) => size + header.length, 0), offset);
  yield* directory;
  yield last;
}

/**
 * @param {ZipEntry} entry
 * @param {Date} modified
 */
function localHeader(entry, modified) {
  const name = new TextEncoder().encode(entry.name);
  const large = entry.size >= LIMIT_32;
  const size = entry.crc32 === null ? 0 : entry.size;
  const extra = large ? packed([2, 1], [2, 16], [8, size], [8, size]) : new Uint8Array();
  const short = large ? LIMIT_32 : size;
  const head = packed(
    [4, 0x04034b50], [2, large ? ZIP64 : PLAIN], [2, flags(entry)], [2, 0], ...dosTime(modified),
    [4, entry.crc32 ?? 0], [4, short], [4, short], [2, name.length], [2, extra.length],
  ); // prettier-ignore
  return joined(head, name, extra);
}

/**
 * @param {ZipEntry} entry
 * @param {number} checksum
 */
function descriptor({ size, crc32 }, checksum) {
  if (crc32 !== null) return new Uint8Array();
  const width = size >= LIMIT_32 ? 8 : 4;
  return packed([4, 0x08074b50], [4, checksum], [width, size], [width, size]);
}

/**
 * @param {ZipEntry} entry
 * @param {number} checksum
 * @param {number} offset
 * @param {Date} modified
 */
function centralHeader(entry, checksum, offset, modified) {
  const name = new TextEncoder().encode(entry.name);
  const wide = [...(entry.size >= LIMIT_32 ? [entry.size, entry.size] : []), ...(offset >= LIMIT_32 ? [offset] : [])];
  const fields = wide.map((value) => /** @type {[number, number]} */ ([8, value]));
  const extra = wide.length > 0 ? packed([2, 1], [2, 8 * wide.length], ...fields) : new Uint8Array();
  const size = Math.min(entry.size, LIMIT_32);
  const head = packed(
    [4, 0x02014b50], [2, UNIX | ZIP64], [2, wide.length > 0 ? ZIP64 : PLAIN], [2, flags(entry)], [2, 0],
    ...dosTime(modified), [4, checksum], [4, size], [4, size], [2, name.length], [2, extra.length],
    [2, 0], [2, 0], [2, 0], [4, MODE], [4, Math.min(offset, LIMIT_32)],
  ); // prettier-ignore
  return joined(head, name, extra);
}

/**
 * @param {number} count
 * @param {number} size
 * @param {number} offset
 */
function end(count, size, offset) {
  const wide =
    count >= LIMIT_16 || size >= LIMIT_32 || offset >= LIMIT_32
      ? packed(
          [4, 0x06064b50], [8, 44], [2, UNIX | ZIP64], [2, ZIP64], [4, 0], [4, 0], [8, count], [8, count], [8, size],
          [8, offset], [4, 0x07064b50], [4, 0], [8, offset + size], [4, 1],
        ) // prettier-ignore
      : new Uint8Array();
  const short = Math.min(count, LIMIT_16);
  const last = packed(
    [4, 0x06054b50], [2, 0], [2, 0], [2, short], [2, short], [4, Math.min(size, LIMIT_32)],
    [4, Math.min(offset, LIMIT_32)], [2, 0],
  ); // prettier-ignore
  return joined(wide, last);
}

/** @param {ZipEntry} entry */
function flags({ crc32 }) {
  return crc32 === null ? UTF8 | DESCRIPTOR : UTF8;
}

/**
 * @param {Date} moment
 * @returns {[number, number][]}
 */
function dosTime(moment) {
  const year = Math.min(Math.max(moment.getFullYear(), 1980), 2107);
  const time = (moment.getHours() << 11) | (moment.getMinutes() << 5) | (moment.getSeconds() >> 1);
  return [[2, time], [2, ((year - 1980) << 9) | ((moment.getMonth() + 1) << 5) | moment.getDate()]];
}

/**
 * Pack numbers, little-endian.
 * @param {...[number, number]} fields width in bytes, and value below 2^53
 * @returns {Bytes}
 */
function packed(...fields) {
  const bytes = new Uint8Array(fields.reduce((length, [width]) => length + width, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else if (width === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += width;
  }
  return bytes;
}

/** Tables for eight bytes at a time ("slicing by 8"): a plain loop over bytes would slow downloads. */
const TABLES = Array.from({ length: 8 }, () => new Uint32Array(256));
for (let byte = 0; byte < 256; byte += 1) {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  TABLES[0][byte] = value;
}
for (let byte = 0; byte < 256; byte += 1) {
  for (let slice = 1; slice < 8; slice += 1) {
    const before = TABLES[slice - 1][byte];
    TABLES[slice][byte] = (before >>> 8) ^ TABLES[0][before & 0xff];
  }
}

/**
 * Continue the CRC-32 of a content, 0 at its beginning.
 * @param {Uint8Array} bytes
 * @param {number} before
 */
export function crc32(bytes, before) {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES;
  let crc = ~before;
  let at = 0;
  for (const stop = bytes.length - 7; at < stop; at += 8) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    crc =
      t7[crc & 0xff] ^ t6[(crc >>> 8) & 0xff] ^ t5[(crc >>> 16) & 0xff] ^ t4[crc >>> 24] ^
      t3[bytes[at + 4]] ^ t2[bytes[at + 5]] ^ t1[bytes[at + 6]] ^ t0[bytes[at + 7]]; // prettier-ignore
  }
  for (; at < bytes.length; at += 1) crc = (crc >>> 8) ^ t0[(crc ^ bytes[at]) & 0xff];
  return ~crc >>> 0;
}
