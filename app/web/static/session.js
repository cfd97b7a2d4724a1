/**
 * The session of the person who is signed in, and every request that the staff's page makes.
 *
 * The session's cookie is invisible to scripts. The token that goes with each change is fetched from `/me` and kept in
 * memory only. When the session ends, requests wait until the same person has signed in again, in another tab, and are
 * then repeated, so that nothing is lost.
 */

import { hear } from "./clock.js";
import { currentLanguage } from "./language.js";

const ANSWER_WITHIN_MS = 60_000;
const ASK_AGAIN_MS = 20_000;
/** Statuses of a request that may succeed later: it timed out, the upload is held, or there were too many. */
const LATER = new Set([408, 423, 425, 429]);

/**
 * @typedef {{id: string, name: string | null, role: string, sealed: string, max_files: number, max_bytes: number,
 *   max_shares: number, min_lifetime: string, default_lifetime: string, max_lifetime: string, purposes: string[],
 *   session: {token: string} | null}} Me
 * @typedef {{method?: string, json?: object, body?: BodyInit, headers?: Record<string, string>, signal?: AbortSignal,
 *   within?: number}} Asked
 */

/** The service refused, for good. `code` is the problem's, `detail` its sentence in the page's language. */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {any} problem
   */
  constructor(status, problem) {
    super(problem?.code ?? `http_${status}`);
    this.status = status;
    this.code = this.message;
    this.detail = problem?.detail ?? problem?.title ?? "";
  }
}

/** There was no response, or one after which the same request may succeed. */
export class Cut extends Error {
  /**
   * @param {string} code empty if there was no response of the service
   * @param {string} detail
   */
  constructor(code = "", detail = "") {
    super(code);
    this.code = code;
    this.detail = detail;
  }
}

/** @type {Me | null} */
let known = null;
/** @type {Promise<void> | null} */
let again = null;
/** Shows or hides "sign in again". @type {(shown: boolean) => void} */
let showSignedOut = () => {};

/**
 * Return who is signed in, with the house's rules. Throws Refused, with status 401 if nobody is, and Cut.
 * @returns {Promise<Me>}
 */
export async function whoIsThere() {
  const found = await (await once("/api/v1/me", {})).json();
  if (known && found.id !== known.id) throw new Refused(403, { code: "other_person" });
  known = found;
  return found;
}

/** @param {(shown: boolean) => void} show */
export function onSignedOut(show) {
  showSignedOut = show;
}

/**
 * Send a request and return its response. Throws Refused, Cut.
 * @param {string} path
 * @param {Asked} request
 * @returns {Promise<Response>}
 */
export async function ask(path, request = {}) {
  for (let renewed = false; ; ) {
    try {
      return await once(path, request);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.status === 401) await signedInAgain();
      else if (error.code === "session_token_required" && !renewed) await whoIsThere(); // signed in again elsewhere
      else throw error;
      renewed = error.status !== 401;
    }
  }
}

/**
 * @param {string} path
 * @param {Asked} request
 * @returns {Promise<any>}
 */
export async function askJson(path, request = {}) {
  const response = await ask(path, request);
  return response.status === 204 ? null : response.json();
}

/**
 * @param {string} path
 * @param {Asked} request
 */
async function once(path, { method = "GET", json, body, headers = {}, signal, within = ANSWER_WITHIN_MS }) {
  const all = new Headers({ "Accept-Language": currentLanguage(), ...headers });
  if (json) all.set("Content-Type", "application/json");
  if (method !== "GET" && method !== "HEAD" && known?.session) all.set("Caducee-Session-Token", known.session.token);
  const timeout = AbortSignal.timeout(within);
  const options = { method, headers: all, body: json ? JSON.stringify(json) : body, cache: /** @type {const} */ ("no-store") };
  /** @type {Response} */
  let response;
  try {
    response = await fetch(path, { ...options, signal: signal ? AbortSignal.any([signal, timeout]) : timeout });
  } catch {
    throw new Cut();
  }
  hear(response);
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  if (response.status >= 500 || LATER.has(response.status)) throw new Cut(problem?.code, problem?.detail ?? problem?.title);
  throw new Refused(response.status, problem);
}

/** Resolve once the same person has signed in again. Throws Refused for another person. */
function signedInAgain() {
  again ??= (async () => {
    showSignedOut(true);
    try {
      for (;;) {
        await returned();
        try {
          return void (await whoIsThere());
        } catch (error) {
          if (error instanceof Refused && error.status !== 401) throw error;
        }
      }
    } finally {
      showSignedOut(false);
      again = null;
    }
  })();
  return again;
}

/** Resolve when the person comes back to this tab or asks for it; at the latest after a while. */
function returned() {
  return /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      const heard = new AbortController();
      const done = () => {
        clearTimeout(timer);
        heard.abort();
        resolve();
      };
      const timer = setTimeout(done, ASK_AGAIN_MS);
      addEventListener("focus", done, { signal: heard.signal });
      document.getElementById("signed-again")?.addEventListener("click", done, { signal: heard.signal });
    })
  );
}

/**
 * End the session, and return where the browser goes next: to the provider's own sign-out, or to the sign-in page.
 * Throws Cut, Refused: then the session goes on.
 * @returns {Promise<string>}
 */
export async function signOut() {
  const end = async () => (await (await once("/sign-out", { method: "POST" })).json()).next;
  try {
    return await end().catch(async (error) => {
      if (!(error instanceof Refused && error.code === "session_token_required")) throw error;
      await whoIsThere(); // signed in again elsewhere
      return end();
    });
  } catch (error) {
    if (!(error instanceof Refused && error.status === 401)) throw error;
    return "/sign-in?signed_out=here"; // the session had ended
  }
}
