/**
 * What the staff's page keeps in this browser, in IndexedDB: for each transfer sent from here its client key and, while it
 * is unfinished, how to go on. Records are encrypted with a key of the person's own that scripts cannot export
 * (docs/staff-page.md). In clear are the transfer's id, the person's and when the transfer expires, so that whoever opens the
 * page next tidies up. Never kept: a link, a password, a transfer key, `owner_part`, an access token.
 */

import { ascii, joined } from "./encoding.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */
/**
 * A file of a transfer. `salt` and `upload`, the upload's path, are empty until it was announced.
 * @typedef {{name: string, path: string, type: string, size: number, modified: number, salt: string, upload: string,
 *   done: boolean}} KeptFile
 * @typedef {{id: string, expiresAt: string, clientKey: string, recipients: string[], language: string,
 *   files: KeptFile[], unfinished: boolean}} KeptTransfer
 */

const DATABASE = "caducee-staff";
const NONCE_BYTES = 12;
const DIGEST_BYTES = 32;

/** Digests could not be stored: an upload that goes on without them could not be resumed safely. */
export class NotKept extends Error {}

/** What a keeper works with, once the browser has opened it. @typedef {{database: IDBDatabase, key: CryptoKey}} Store */

/** The records of one person. Without a store, everything works but nothing is kept. */
export class Keeper {
  /**
   * @param {string} person
   * @param {Promise<IDBDatabase | null>} opening as `openStore` returns it: the page need not wait for it
   */
  constructor(person, opening) {
    this.person = person;
    this.store = storeOf(person, opening);
    this.stopped = false;
  }

  /** Return whether the browser keeps anything for the site. */
  async keeps() {
    return (await this.store) !== null;
  }

  /**
   * Return all transfers of the person that were not forgotten.
   * @returns {Promise<KeptTransfer[]>}
   */
  async all() {
    const found = (await this.#in(["transfers"], "readonly", (transfers) => done(transfers.getAll()))) ?? [];
    const own = found.filter((/** @type {any} */ each) => each.person === this.person);
    const read = await Promise.all(own.map((/** @type {any} */ each) => this.#open(each.id, each.sealed)));
    return read.filter((each) => each !== null).map((each) => JSON.parse(new TextDecoder().decode(each)));
  }

  /** @param {KeptTransfer} transfer */
  async keep(transfer) {
    if (this.stopped) return;
    const sealed = await this.#seal(transfer.id, new TextEncoder().encode(JSON.stringify(transfer)));
    const record = { id: transfer.id, person: this.person, expires: Date.parse(transfer.expiresAt), sealed };
    const key = (await this.store)?.key;
    await this.#in(["transfers", "keys"], "readwrite", (transfers, keys) => {
      transfers.put(record);
      keys.put(key, this.person); // another tab may have found it without records
    });
  }

  /** @param {string} id */
  async forget(id) {
    await this.#in(["transfers", "digests"], "readwrite", (transfers, digests) => {
      transfers.delete(id);
      digests.delete(digestsOf(id));
    });
  }

  /** Keep nothing more. */
  stop() {
    this.stopped = true;
  }

  /** Forget every transfer of the person, and the key, and keep nothing more. */
  async forgetAll() {
    this.stop();
    await this.#forgetWhere(({ person }) => person === this.person, (person) => person === this.person);
  }

  /**
   * Forget everybody's transfers that have expired, and keys without a transfer: who never signs in again cannot do it.
   * @param {number} now in milliseconds since 1970
   */
  async forgetExpired(now) {
    await this.#forgetWhere(({ expires }) => !(expires > now), (person, isUsed) => person !== this.person && !isUsed);
  }

  /**
   * Forget transfers, digests without a transfer, and keys.
   * @param {(record: {person: string, expires: number}) => boolean} isOver
   * @param {(person: string, isUsed: boolean) => boolean} isKeyOver
   */
  async #forgetWhere(isOver, isKeyOver) {
    await this.#in(["transfers", "digests", "keys"], "readwrite", async (transfers, digests, keys) => {
      /** @type {any[]} */
      const records = await done(transfers.getAll());
      const left = records.filter((record) => !isOver(record));
      const [ids, people] = [new Set(left.map(({ id }) => id)), new Set(left.map(({ person }) => person))];
      for (const record of records) if (isOver(record)) transfers.delete(record.id);
      const digested = /** @type {[string][]} */ (await done(digests.getAllKeys()));
      for (const id of new Set(digested.map(([id]) => id))) if (!ids.has(id)) digests.delete(digestsOf(id));
      for (const person of /** @type {string[]} */ (await done(keys.getAllKeys()))) {
        if (isKeyOver(person, people.has(person))) keys.delete(person);
      }
    });
  }

  /**
   * Store the digests of slices, from the slice `first` on. When this resolves they are on the disk. Throws NotKept.
   * @param {string} id
   * @param {number} number of the file
   * @param {number} first
   * @param {Bytes[]} digests
   */
  async keepDigests(id, number, first, digests) {
    if (this.stopped) return;
    const sealed = await this.#seal(`${id} ${number} ${first}`, joined(...digests));
    const put = async (/** @type {IDBObjectStore} */ store) => (await done(store.put(sealed, [id, number, first]))) && true;
    if (!(await this.#in(["digests"], "readwrite", put)) && (await this.keeps())) throw new NotKept();
  }

  /**
   * Return the digests of a file's slices, as far as they are kept without a gap.
   * @param {string} id
   * @param {number} number
   * @returns {Promise<Bytes[]>}
   */
  async digests(id, number) {
    const range = digestsOf(id, number);
    const keys = (await this.#in(["digests"], "readonly", (store) => done(store.getAllKeys(range)))) ?? [];
    const values = (await this.#in(["digests"], "readonly", (store) => done(store.getAll(range)))) ?? [];
    /** @type {Bytes[]} */
    const found = [];
    for (const [index, [, , first]] of keys.entries()) {
      const batch = first === found.length ? await this.#open(`${id} ${number} ${first}`, values[index]) : null;
      if (batch === null) break;
      for (let at = 0; at < batch.length; at += DIGEST_BYTES) found.push(batch.slice(at, at + DIGEST_BYTES));
    }
    return found;
  }

  /**
   * @param {string} id
   * @param {number} number
   */
  async forgetDigests(id, number) {
    await this.#in(["digests"], "readwrite", (store) => done(store.delete(digestsOf(id, number))));
  }

  /**
   * @param {string} name binds the ciphertext to its record
   * @param {Bytes} plain
   */
  async #seal(name, plain) {
    const store = await this.store;
    if (!store) return null;
    const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    const parameters = { name: "AES-GCM", iv, additionalData: ascii(`${this.person} ${name}`) };
    return joined(iv, new Uint8Array(await crypto.subtle.encrypt(parameters, store.key, plain)));
  }

  /**
   * @param {string} name
   * @param {Bytes} sealed
   * @returns {Promise<Bytes | null>} null if another key sealed it
   */
  async #open(name, sealed) {
    const store = await this.store;
    if (!store) return null;
    const iv = sealed.subarray(0, NONCE_BYTES);
    const parameters = { name: "AES-GCM", iv, additionalData: ascii(`${this.person} ${name}`) };
    try {
      return new Uint8Array(await crypto.subtle.decrypt(parameters, store.key, sealed.subarray(NONCE_BYTES)));
    } catch {
      return null;
    }
  }

  /**
   * Run one transaction. What cannot be stored is not: the deposit goes on without.
   * @param {string[]} names
   * @param {IDBTransactionMode} mode
   * @param {(...stores: IDBObjectStore[]) => any} act
   * @returns {Promise<any>}
   */
  async #in(names, mode, act) {
    const store = await this.store;
    if (!store) return undefined;
    try {
      const running = transaction(store.database, names, mode);
      const outcome = await act(...names.map((name) => running.objectStore(name)));
      if (mode === "readwrite") await committed(running);
      return outcome;
    } catch {
      return undefined;
    }
  }
}

/**
 * Return the range of a transfer's digests, or of one file's.
 * @param {(string | number)[]} of
 */
function digestsOf(...of) {
  return IDBKeyRange.bound(of, [...of, []]);
}

/**
 * @param {IDBDatabase} database
 * @param {string[]} names
 * @param {IDBTransactionMode} mode
 */
function transaction(database, names, mode) {
  return database.transaction(names, mode, { durability: mode === "readwrite" ? "strict" : "default" });
}

/**
 * Open the database; null if the browser stores nothing for the site.
 * @returns {Promise<IDBDatabase | null>}
 */
export async function openStore() {
  try {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("keys");
      request.result.createObjectStore("transfers", { keyPath: "id" });
      request.result.createObjectStore("digests");
    };
    return await done(request);
  } catch {
    return null;
  }
}

/**
 * Return the database with the person's key, which is made if there is none; null if nothing can be kept.
 * @param {string} person
 * @param {Promise<IDBDatabase | null>} opening
 * @returns {Promise<Store | null>}
 */
async function storeOf(person, opening) {
  try {
    const database = /** @type {IDBDatabase} */ (await opening);
    const known = await done(transaction(database, ["keys"], "readonly").objectStore("keys").get(person));
    return { database, key: known ?? (await newKey(database, person)) };
  } catch {
    return null;
  }
}

/**
 * Return the key of a person who had none, or the one that another tab has just stored.
 * @param {IDBDatabase} database
 * @param {string} person
 * @returns {Promise<CryptoKey>}
 */
async function newKey(database, person) {
  const fresh = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
  const keys = transaction(database, ["keys"], "readwrite").objectStore("keys");
  if ((await done(keys.getKey(person))) === undefined) await done(keys.add(fresh, person));
  return done(keys.get(person));
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {IDBTransaction} running */
function committed(running) {
  return new Promise((resolve, reject) => {
    running.oncomplete = () => resolve(null);
    running.onerror = running.onabort = () => reject(running.error);
  });
}
