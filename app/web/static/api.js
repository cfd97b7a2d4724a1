/**
 * What the page says to the service, and how it reads the answers (docs/http-api.md).
 */

import { hear } from "./clock.js";

const ANSWER_WITHIN_MS = 60_000;
/** Further than any file is long. */
const PAST_THE_END = "bytes=999999999999999999-";
/** The service's own words for a claim that is no more. A bare 404 or 410 may be a proxy's: it says nothing. */
const OVER = new Set(["claim_ended", "claim_not_found"]);

/**
 * An answer. `code` is the problem's, empty when the answer was not the service's own, or `offline` when there was none;
 * `gone` says that the claim has ended.
 * @typedef {{ok: boolean, gone: boolean, code: string, data: any}} Answer
 */

/**
 * @param {string} shareId
 * @param {string} linkProof
 */
export function look(shareId, linkProof) {
  return asked(`/api/v1/shares/${shareId}/look`, { method: "POST", json: { link_proof: linkProof } });
}

/**
 * @param {string} shareId
 * @param {{link_proof?: string, link_secret?: string, password: string, claim_token: string}} presented
 */
export function claim(shareId, presented) {
  return asked(`/api/v1/shares/${shareId}/claim`, { method: "POST", json: presented });
}

/**
 * Everything has arrived.
 * @param {string} claimId
 * @param {string | null} token null: the claim's cookie
 */
export function complete(claimId, token) {
  return asked(`/api/v1/claims/${claimId}/complete`, { method: "POST", token });
}

/**
 * Whether the claim still stands. Asks for what lies past the end of a file: takes nothing, and has, unlike HEAD, an
 * answer that only the service gives.
 * @param {string} claimId
 * @param {string} token empty: the claim's cookie
 * @returns {Promise<Answer>}
 */
export async function standing(claimId, token) {
  const answer = await asked(`/api/v1/claims/${claimId}/blobs/0`, { method: "GET", token, range: PAST_THE_END });
  return { ...answer, ok: answer.code === "range_not_satisfiable" };
}

/**
 * The name of a file whose right is a cookie; names are kept nowhere in the browser.
 * @param {string} claimId
 * @param {number} number
 * @returns {Promise<Answer & {name?: string}>}
 */
export async function named(claimId, number) {
  /** @type {string | undefined} */
  let name;
  const answer = await asked(filePath(claimId, number), { method: "HEAD" }, (response) => {
    const written = /filename\*=UTF-8''(\S+)$/.exec(response.headers.get("Content-Disposition") ?? "");
    name = written ? decodeURIComponent(written[1]) : undefined;
  });
  return { ...answer, name };
}

/**
 * Where the browser downloads a file by itself, with the claim's cookie.
 * @param {string} claimId
 * @param {number} number
 */
export function filePath(claimId, number) {
  return `/api/v1/claims/${claimId}/files/${number}`;
}

/**
 * A file's ciphertext from byte `from` on. Rejects when there is no answer.
 * @param {{id: string, token: string}} claim
 * @param {number} number
 * @param {{from: number, etag: string | null, signal: AbortSignal}} wanted
 */
export function ciphertext(claim, number, { from, etag, signal }) {
  const headers = new Headers({ Authorization: `Bearer ${claim.token}` });
  if (from > 0) headers.set("Range", `bytes=${from}-`);
  if (from > 0 && etag) headers.set("If-Range", etag);
  return fetch(`/api/v1/claims/${claim.id}/blobs/${number}`, { headers, signal, cache: "no-store" });
}

/**
 * @param {string} path
 * @param {{method: string, json?: object, token?: string | null, range?: string}} request
 * @param {(response: Response) => void} [see]
 * @returns {Promise<Answer>}
 */
async function asked(path, { method, json, token, range }, see) {
  const headers = new Headers();
  if (json) headers.set("Content-Type", "application/json");
  if (token) headers.set("Authorization", `Bearer ${token}`);
  if (range) headers.set("Range", range);
  const options = { method, headers, body: json && JSON.stringify(json) };
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const response = await fetch(path, { ...options, signal, credentials: "same-origin", cache: "no-store" });
    hear(response);
    see?.(response);
    const data = await read(response);
    const empty = method === "HEAD" || response.status === 204;
    const code = data?.code ?? "";
    return { ok: response.ok && (empty || data !== null), gone: OVER.has(code), code, data };
  } catch {
    return { ok: false, gone: false, code: "offline", data: null };
  }
}

/**
 * What an answer says in JSON; null where it says nothing, or is somebody else's page.
 * @param {Response} response
 * @returns {Promise<any>}
 */
export async function read(response) {
  const text = await response.text();
  return text && response.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : null;
}
