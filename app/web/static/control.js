/**
 * Pauses, resumes and cancels work that consists of requests, and repeats requests that were cut.
 */

import { pause } from "./clock.js";
import { Cut } from "./session.js";

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 15_000;

/** The person cancelled. */
export class Cancelled extends Error {}

export class Control {
  /** @type {AbortController} */
  #running = new AbortController();
  /** @type {(() => void)[]} */
  #waiting = [];
  paused = false;
  cancelled = false;

  /** Aborts the request that runs when the person pauses or cancels. */
  get signal() {
    return this.#running.signal;
  }

  pause() {
    this.paused = true;
    this.#running.abort();
  }

  resume() {
    this.paused = false;
    this.#running = new AbortController();
    this.#wake();
  }

  cancel() {
    this.cancelled = true;
    this.#running.abort();
    this.#wake();
  }

  #wake() {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Wait while paused. Throws Cancelled. */
  async open() {
    while (this.paused && !this.cancelled) await new Promise((resolve) => this.#waiting.push(() => resolve(null)));
    if (this.cancelled) throw new Cancelled();
  }

  /**
   * Wait, at most until the person acts or the browser is online again.
   * @param {number} ms
   */
  async sleep(ms) {
    await Promise.race([pause(ms), new Promise((resolve) => this.#waiting.push(() => resolve(null)))]);
  }
}

/** Waits that grow while nothing succeeds. */
export class Patience {
  #wait = FIRST_WAIT_MS;

  /**
   * @param {Control} control
   * @param {(cut: Cut | null) => void} told null once it goes on
   */
  constructor(control, told) {
    this.control = control;
    this.told = told;
  }

  /** Something succeeded. */
  renew() {
    this.#wait = FIRST_WAIT_MS;
    this.told(null);
  }

  /**
   * Wait after a failure. Throws it if repeating cannot help, and Cancelled.
   * @param {unknown} error
   */
  async after(error) {
    if (this.control.cancelled) throw new Cancelled();
    if (this.control.paused) return this.control.open();
    if (!(error instanceof Cut)) throw error;
    this.told(error);
    await this.control.sleep(this.#wait);
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
    return this.control.open();
  }

  /**
   * Repeat an action until it succeeds.
   * @template T
   * @param {(signal: AbortSignal) => Promise<T>} act
   * @returns {Promise<T>}
   */
  async until(act) {
    await this.control.open();
    for (;;) {
      try {
        const done = await act(this.control.signal);
        this.renew();
        return done;
      } catch (error) {
        await this.after(error);
      }
    }
  }
}
