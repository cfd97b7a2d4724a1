/**
 * One deposit: create the transfer, upload the files, then issue a share for each recipient. What is needed to go on after
 * the tab was closed is kept from the first byte on (`kept.js`).
 */

import { Control, Patience } from "./control.js";
import { toBase64url } from "./encoding.js";
import { createTransfer, deleteTransfer, issue, newIdempotencyKey, newShare, reopenTransfer, withdraw } from "./sealed-transfer.js";
import { sealedSize } from "./sealing.js";
import { askJson, Refused } from "./session.js";
import { FileChanged } from "./source.js";
import { upload } from "./uploading.js";
import { newSecret } from "./wrapping.js";

/** @typedef {import("./kept.js").Keeper} Keeper */
/** @typedef {import("./kept.js").KeptTransfer} KeptTransfer */
/** @typedef {import("./sealed-transfer.js").Share} Share */
/** @typedef {{file: File, name: string, path: string}} Chosen */
/**
 * What happens, for the person to see: bytes that have arrived, of how many; the file that is on its way; and why it
 * waits, null once it goes on.
 * @typedef {{moved: (done: number, total: number) => void, began: (number: number, name: string) => void,
 *   waits: (cut: import("./session.js").Cut | null) => void}} Watcher
 * @typedef {{terms: object, recipients: string[], language: string, chosen: Chosen[]}} Plan
 */

/** Statuses of a transfer that does not exist, or has ended. */
const GONE = new Set([404, 409, 410]);

/** Another tab sends the same transfer. */
export class InUse extends Error {}

export class Deposit {
  control = new Control();

  /**
   * @param {Keeper} keeper
   * @param {Watcher} watcher
   */
  constructor(keeper, watcher) {
    this.keeper = keeper;
    this.watcher = watcher;
    this.patience = new Patience(this.control, (cut) => watcher.waits(cut));
    /** @type {KeptTransfer | null} */
    this.kept = null;
  }

  /**
   * Deposit, and return the shares. Throws Refused, FileChanged, Cancelled, InUse.
   * @param {Plan} plan
   */
  async begin({ terms, recipients, language, chosen }) {
    const clientKey = newSecret();
    const idempotencyKey = newIdempotencyKey();
    const transfer = await this.patience.until((signal) => createTransfer(terms, clientKey, { idempotencyKey, signal }));
    this.kept = {
      id: transfer.id,
      expiresAt: transfer.expiresAt,
      clientKey: toBase64url(clientKey),
      recipients,
      language,
      files: chosen.map(keptFile),
      unfinished: true,
    };
    await this.keeper.keep(this.kept);
    return this.#alone(() => this.#send(transfer, chosen.map(({ file }) => file), { isResumed: false }));
  }

  /**
   * Go on with an interrupted deposit. `files` has each file that is not done, by its number. Throws as `begin`.
   * @param {KeptTransfer} kept
   * @param {(File | null)[]} files
   */
  async goOn(kept, files) {
    this.kept = kept;
    return this.#alone(async () => {
      const transfer = await this.patience.until((signal) => reopenTransfer(kept, signal));
      return this.#send(transfer, files, { isResumed: true });
    });
  }

  /**
   * End the transfer, with what the service has of it, and return whether its keys were seen destroyed. Throws Cut: then
   * it can be ended later, and expires.
   */
  async abandon() {
    if (!this.kept) return true;
    const { id } = this.kept;
    const isDestroyed = await deleteTransfer(id, "mistake").catch((error) => {
      if (error instanceof Refused && GONE.has(error.status)) return true;
      throw error;
    });
    this.kept = null;
    await this.keeper.forget(id);
    return isDestroyed;
  }

  /**
   * End an interrupted deposit, as `abandon`. Throws InUse, too.
   * @param {KeptTransfer} kept
   */
  async discard(kept) {
    this.kept = kept;
    return this.#alone(() => this.abandon());
  }

  /**
   * @template T
   * @param {() => Promise<T>} act
   * @returns {Promise<T>}
   */
  #alone(act) {
    return navigator.locks.request(lockOf(this.kept?.id), { ifAvailable: true }, (lock) => {
      if (!lock) throw new InUse();
      return act();
    });
  }

  /**
   * @param {import("./sealed-transfer.js").Transfer} transfer
   * @param {(File | null)[]} files
   * @param {{isResumed: boolean}} how
   */
  async #send(transfer, files, { isResumed }) {
    const kept = /** @type {KeptTransfer} */ (this.kept);
    const total = kept.files.reduce((sum, { size }) => sum + sealedSize(size), 0);
    let before = 0;
    for (const [number, each] of kept.files.entries()) {
      const moved = (/** @type {number} */ at) => this.watcher.moved(before + at, total);
      if (!each.done) await this.#upload(transfer, number, { file: files[number], moved });
      before += sealedSize(each.size);
      this.watcher.moved(before, total);
    }
    if (isResumed) await this.patience.until((signal) => withdrawUnseen(transfer.id, signal));
    const shares = [];
    for (const recipient of kept.recipients) {
      const share = newShare(recipient);
      shares.push(await this.patience.until((signal) => issue(transfer, share, kept.language, signal)));
    }
    kept.unfinished = false;
    await this.keeper.keep(kept);
    return shares;
  }

  /**
   * @param {import("./sealed-transfer.js").Transfer} transfer
   * @param {number} number
   * @param {{file: File | null, moved: (at: number) => void}} sent
   */
  async #upload(transfer, number, { file, moved }) {
    const { keeper, patience } = this;
    const whole = /** @type {KeptTransfer} */ (this.kept);
    const kept = whole.files[number];
    this.watcher.began(number, kept.name);
    if (!file) throw new FileChanged(kept);
    await upload({ transfer, number, kept, file, keeper, moved, patience, save: () => keeper.keep(whole) });
  }
}

/** @param {string} [id] of a transfer, which one tab at a time sends */
function lockOf(id) {
  return `caducee ${id}`;
}

/**
 * Return the interrupted deposits, without those that another tab is sending.
 * @param {Keeper} keeper
 */
export async function interrupted(keeper) {
  const held = new Set((await navigator.locks.query()).held?.map(({ name }) => name));
  return (await keeper.all()).filter(({ id, unfinished }) => unfinished && !held.has(lockOf(id)));
}

/**
 * Withdraw the shares of an earlier try, whose links nobody has seen.
 * @param {string} transferId
 * @param {AbortSignal} signal
 */
async function withdrawUnseen(transferId, signal) {
  const { shares } = await askJson(`/api/v1/transfers/${transferId}`, { signal });
  for (const { id, state } of shares) if (state === "prepared" || state === "issued") await withdraw(id, "other");
}

/**
 * Issue a share of a transfer that was sent from here.
 * @param {KeptTransfer} kept
 * @param {string} recipient
 * @param {string} language
 */
export async function issueAgain(kept, recipient, language) {
  return issue(await reopenTransfer(kept), newShare(recipient), language);
}

/**
 * @param {Chosen} chosen
 * @returns {import("./kept.js").KeptFile}
 */
function keptFile({ file, name, path }) {
  const { type, size, lastModified } = file;
  return { name, path, type, size, modified: lastModified, salt: "", upload: "", done: false };
}

/**
 * Match the files picked again with those of an interrupted deposit: same name, folder, size and time of change.
 * @param {KeptTransfer} kept
 * @param {Chosen[]} chosen
 * @returns {{files: (File | null)[], missing: string[]}} `missing` are names of files that were not picked
 */
export function matched(kept, chosen) {
  const files = kept.files.map((each) => {
    const found = chosen.find(({ file, name, path }) => {
      const isNamed = name === each.name && (path === each.path || path === ""); // first: a size has to be looked up
      return isNamed && file.size === each.size && file.lastModified === each.modified;
    });
    return found?.file ?? null;
  });
  const missing = kept.files.filter((each, number) => !each.done && !files[number]).map(({ name }) => name);
  return { files, missing };
}
