/**
 * What this browser keeps between a claim and its end, so that a closed tab can go on: in IndexedDB, one record for each
 * share, deleted when the files were confirmed, when the service says that the claim is over, and at the latest when this
 * page is next opened after the share's expiry, by the service's clock (docs/recipient-page.md).
 *
 * Never kept: the link's secret, the password, file names in clear. The transfer key is kept as a CryptoKey that no script
 * can read out.
 */

const DATABASE = "caducee";
const STORE = "claims";

/**
 * @typedef {import("./fetching.js").StoredFile & {sealedMeta?: string, received?: boolean, started?: boolean}} KeptFile
 * `started` is all that is known of a download that was left to the browser
 * @typedef {{id: string, transferId: string, expiresAt: string, files: KeptFile[], key: CryptoKey | null}} KeptClaim
 * `key` is null where the right to fetch is the claim's cookie
 * @typedef {{shareId: string, token: string, byProof: boolean, until: number, claim: KeptClaim | null}} Kept
 * `token` is chosen before the first try, so that a lost answer can be asked for again, in the same way (`byProof`);
 * `until` is when to ask the service whether the claim still stands, without a claim when to forget: on its clock
 */

/**
 * @param {string} shareId
 * @returns {Promise<Kept | null>}
 */
export async function recall(shareId) {
  return (await inStore("readonly", (store) => done(store.get(shareId)))) ?? null;
}

/**
 * Bring what is kept up to date; what another tab has deleted meanwhile stays deleted, key and all.
 * @param {Kept} kept
 */
export async function keep(kept) {
  await inStore("readwrite", async (store) => (await done(store.getKey(kept.shareId))) && done(store.put(kept)));
}

/**
 * Keep what this tab begins, unless another tab has begun already: answers what is kept then.
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

/** Whether this browser lets the page keep anything. Where it does not, it takes no cookie either, whatever it says. */
export async function keeps() {
  return (await inStore("readonly", (store) => done(store.count()))) !== undefined;
}

/**
 * All that is kept, whatever the link.
 * @returns {Promise<Kept[]>}
 */
export async function everything() {
  return (await inStore("readonly", (store) => done(store.getAll()))) ?? [];
}

/**
 * Do one thing in the store. Where storage is blocked, nothing is kept: then only a closed tab loses the claim.
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => Promise<any>} act in one transaction, which waits for nothing but its requests
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
