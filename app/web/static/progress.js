/**
 * The progress of a download that the page decrypts.
 */

import { part, put, status } from "./view.js";

/** @typedef {import("./encoding.js").Bytes} Bytes */

const TOLD_EVERY_MS = 250;
const ANNOUNCED_EVERY = 0.25;
const MOVED_EVERY_MS = 30_000;

/**
 * @param {AsyncGenerator<Bytes, void, void>} pieces
 * @param {(bytes: number) => void} moved
 * @returns {AsyncGenerator<Bytes, void, void>}
 */
export async function* counted(pieces, moved) {
  for await (const piece of pieces) {
    const { length } = piece; // the consumer may transfer the buffer
    yield piece;
    moved(length);
  }
}

/**
 * Show a download's progress: four times per second on screen, at each quarter to screen readers.
 * @param {{element: HTMLElement, name: string, size: number, labelledBy: string}} shown
 * @param {() => void} onMoved called now and then while bytes arrive
 */
export function progressOf({ element, name, size, labelledBy }, onMoved) {
  const bar = /** @type {HTMLProgressElement} */ (part(element, "progress"));
  const told = part(element, ".file-told");
  let [done, announced, cutNow] = [0, 0, false];
  let [counted, moved] = [0, performance.now()];
  const speed = new Speed();
  const followed = document.activeElement === part(element, "button");
  part(element, "button").hidden = true;
  part(element, ".file-progress").hidden = false;
  if (followed) part(element, ".file-progress").focus(); // the button is hidden: keep the focus in the row
  part(element, ".file-received").hidden = true;
  bar.setAttribute("aria-labelledby", labelledBy);
  bar.value = 0;
  const tell = () => {
    const share = size ? done / size : 1;
    const perSecond = speed.at(done);
    bar.value = share;
    if (cutNow) return put(told, "cut");
    const left = perSecond ? { seconds: (size - done) / perSecond } : undefined;
    const values = { done: { bytes: done }, size: { bytes: size }, speed: { bytes: perSecond }, left };
    put(told, left && done < size ? "progress" : "progress_first", values);
    if (done > counted && performance.now() - moved > MOVED_EVERY_MS) {
      [counted, moved] = [done, performance.now()];
      onMoved();
    }
    if (share < announced + ANNOUNCED_EVERY || share >= 1) return;
    announced = share;
    status("files", "announced", { name, percent: Math.round(share * 100) });
  };
  const timer = setInterval(tell, TOLD_EVERY_MS);
  tell();
  return {
    moved: (/** @type {number} */ bytes) => void (done += bytes),
    cut: (/** @type {boolean} */ cut) => {
      if (cut && !cutNow) status("files", "cut");
      cutNow = cut;
    },
    end: () => clearInterval(timer),
  };
}

/** Bytes per second over the last few seconds. */
export class Speed {
  /** @type {[number, number][]} */
  marks = [];

  /** @param {number} done */
  at(done) {
    const now = performance.now();
    this.marks.push([now, done]);
    if (this.marks.length > 20) this.marks.shift();
    const [then, before] = this.marks[0];
    return now > then ? ((done - before) * 1000) / (now - then) : 0;
  }
}
