/**
 * Shows the progress of a deposit: on screen a few times per second, to screen readers at each quarter.
 */

import { Speed } from "./progress.js";
import { byId, part, put, status, viewOf } from "./view.js";

/** @typedef {import("./session.js").Cut} Cut */

const TOLD_EVERY_MS = 250;
const ANNOUNCED_EVERY = 0.25;

export class Sending {
  #timer = 0;
  #done = 0;
  #total = 0;
  #announced = 0;
  #speed = new Speed();
  #paused = false;

  /** @param {{pause: () => void, resume: () => void, cancel: () => void}} actions */
  constructor({ pause, resume, cancel }) {
    byId("pause").addEventListener("click", () => {
      this.#paused = !this.#paused;
      (this.#paused ? pause : resume)();
      put(byId("pause"), this.#paused ? "resume" : "pause");
      put(byId("waiting"), this.#paused ? "paused" : null);
    });
    byId("cancel").addEventListener("click", cancel);
  }

  begin() {
    [this.#done, this.#total, this.#announced, this.#paused] = [0, 0, 0, false];
    this.#speed = new Speed();
    put(byId("pause"), "pause");
    put(byId("waiting"), null);
    put(byId("sending-file"), null);
    this.#tell();
    this.#timer = setInterval(() => this.#tell(), TOLD_EVERY_MS);
  }

  end() {
    clearInterval(this.#timer);
  }

  /**
   * @param {number} done
   * @param {number} total
   */
  moved(done, total) {
    [this.#done, this.#total] = [done, total];
  }

  /**
   * @param {number} _number
   * @param {string} name
   */
  began(_number, name) {
    put(byId("sending-file"), "sending_file", { name });
  }

  /** @param {Cut | null} cut */
  waits(cut) {
    if (this.#paused) return;
    const key = cut === null ? null : cut.code ? "waits_for_service" : "cut";
    if (byId("waiting").dataset.said !== (key ?? "")) put(byId("waiting"), key, { detail: cut?.detail, code: cut?.code });
  }

  #tell() {
    const view = viewOf("sending");
    const share = this.#total ? this.#done / this.#total : 0;
    const perSecond = this.#speed.at(this.#done);
    /** @type {HTMLProgressElement} */ (part(view, "progress")).value = share;
    const left = perSecond > 0 ? { seconds: (this.#total - this.#done) / perSecond } : undefined;
    const values = { done: { bytes: this.#done }, size: { bytes: this.#total }, speed: { bytes: perSecond }, left };
    put(part(view, ".file-told"), left && share < 1 && !this.#paused ? "progress" : "progress_first", values);
    if (share < this.#announced + ANNOUNCED_EVERY || share >= 1) return;
    this.#announced = share;
    status("sending", "announced", { percent: Math.round(share * 100) });
  }
}
