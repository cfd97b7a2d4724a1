/**
 * The records that let a closed tab resume: one per share, in IndexedDB. A record is deleted when the files were
 * confirmed, when the service reports that the claim has ended, and at the latest when this page is next opened after
 * the share's expiry, by the service's clock (docs/recipient-page.md).
 *
 * Never stored: the link's secret, the password, plaintext file names. The transfer key is stored as a CryptoKey that
 * scripts cannot export.
 */

const DATABASE = "caducee";
const STORE = "claims";

/**
 * @typedef {import("./fetching.js").StoredFile & {sealedMeta?: string, received?: boolean, started?: boolean, begun?: boolean}} KeptFile
 * `begun`: a download by the page began, and has not ended well; `started`: the browser was asked to download the file; nothing more is known
 * @typedef {{id: string, transferId: string, expiresAt: string, files: KeptFile[], archive?: string, key: CryptoKey | null}} KeptClaim
 * `archive` is the name of the ZIP of several files; `key` is null if files are fetched with the claim's cookie
 * @typedef {{shareId: string, token: string, byProof: boolean, until: number, claim: KeptClaim | null, proof?: string}} Kept
 * `token` is generated before the first try, so that a retry after a lost response, made the same way (`byProof`), gets
 * the same claim; `until` is when to ask the service whether the claim is open or, without a claim, when to delete the
 * record, by the service's clock; `proof` is the link's, with which the page asks whether the files are destroyed
 */

/**
 * @param {string} shareId
 * @returns {Promise<Kept | null>}
 */
export async function recall(shareId) {
  return (await inStore("readonly", (store) => done(store.get(shareId)))) ?? null;
}

/**
 * Update a record. One that another tab has deleted meanwhile stays deleted, with its key.
 * @param {Kept} kept
 */
export async function keep(kept) {
  await inStore("readwrite", async (store) => (await done(store.getKey(kept.shareId))) && done(store.put(kept)));
}

/**
 * Store a new record unless another tab has stored one; return the stored record.
 * @param {Kept} begun
 * @returns {Promise<Kept>}
 */
export async function begin(begun) {
  await inStore("readwrite", (store) => done(store.add(begun)));
  return (await recall(begun.shareId)) ?? begun;
}

/** @param {string} shareId */
export async function forget(shareId) {
  await inStore("readwrite", (store) => done(store.delete(shareId)));
}

/** Return whether the browser lets the page store anything. If not, it accepts no cookie either. */
export async function keeps() {
  return (await inStore("readonly", (store) => done(store.count()))) !== undefined;
}

/**
 * Return all records, of all links.
 * @returns {Promise<Kept[]>}
 */
export async function everything() {
  return (await inStore("readonly", (store) => done(store.getAll()))) ?? [];
}

/**
 * Run one transaction. If storage is blocked, nothing is stored, and the claim is lost only if the tab is closed.
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => Promise<any>} act runs in one transaction, which may wait only for its requests
 * @returns {Promise<any>}
 */
async function inStore(mode, act) {
  try {
    const database = await done(opening());
    try {
      return await act(database.transaction(STORE, mode).objectStore(STORE));
    } finally {
      database.close();
    }
  } catch {
    return undefined;
  }
}

function opening() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "shareId" });
  return request;
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
