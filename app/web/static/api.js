/**
 * The page's requests to the service, and how it reads the responses (docs/http-api.md).
 */

import { hear } from "./clock.js";

const ANSWER_WITHIN_MS = 60_000;
/** A range beyond the end of any file. */
const PAST_THE_END = "bytes=999999999999999999-";
/** The service's codes for a claim that has ended. A bare 404 or 410 may be a proxy's and means nothing. */
const OVER = new Set(["claim_ended", "claim_not_found", "share_withdrawn"]);

/**
 * A response. `code` is the problem's code, empty if there is none, or `offline` if there was no response; `gone` means
 * that the claim has ended.
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
 * Return the certificate of destruction, a page to file; without one, the code of the refusal.
 * @param {string} shareId
 * @param {string} linkProof
 * @param {string} language
 * @returns {Promise<{page: import("./encoding.js").Bytes | null, code: string}>}
 */
export async function certificate(shareId, linkProof, language) {
  const headers = { Accept: "text/html", "Caducee-Link-Proof": linkProof };
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const response = await fetch(`/api/v1/shares/${shareId}/receipt?lang=${language}`, { headers, signal, cache: "no-store" });
    const isPage = response.ok && response.headers.get("Content-Type")?.startsWith("text/html");
    if (isPage) return { page: new Uint8Array(await response.arrayBuffer()), code: "" };
    return { page: null, code: (await read(response))?.code ?? "" };
  } catch {
    return { page: null, code: "offline" };
  }
}

/**
 * Confirm that everything has arrived.
 * @param {string} claimId
 * @param {string | null} token null: the claim's cookie
 */
export function complete(claimId, token) {
  return asked(`/api/v1/claims/${claimId}/complete`, { method: "POST", token });
}

/**
 * Ask whether the claim is still open, with a range beyond the end of a file: it uses no allowance and, unlike HEAD,
 * has a response that only the service sends.
 * @param {string} claimId
 * @param {string} token empty: the claim's cookie
 * @returns {Promise<Answer>}
 */
export async function standing(claimId, token) {
  const answer = await asked(`/api/v1/claims/${claimId}/blobs/0`, { method: "GET", token, range: PAST_THE_END });
  return { ...answer, ok: answer.code === "range_not_satisfiable" };
}

/**
 * Return how many bytes of ciphertext the claim may still fetch; null if the service did not say.
 * @param {string} claimId
 * @param {string} token empty: the claim's cookie
 * @returns {Promise<number | null>}
 */
export async function allowanceLeft(claimId, token) {
  /** @type {string | null} */
  let stated = null;
  await asked(`/api/v1/claims/${claimId}/blobs/0`, { method: "HEAD", token }, (response) => {
    stated = response.ok ? response.headers.get("Caducee-Allowance-Left") : null;
  });
  return stated === null ? null : Number(stated);
}

/**
 * Return name and folders of a file that is fetched with the claim's cookie; the browser stores none.
 * @param {string} claimId
 * @param {number} number
 * @returns {Promise<Answer & {name?: string, path?: string}>}
 */
export async function named(claimId, number) {
  /** @type {string | undefined} */
  let name;
  let path = "";
  const answer = await asked(filePath(claimId, number), { method: "HEAD" }, (response) => {
    const written = /filename\*=UTF-8''(\S+)$/.exec(response.headers.get("Content-Disposition") ?? "");
    name = written ? decodeURIComponent(written[1]) : undefined;
    path = decodeURIComponent(response.headers.get("Caducee-File-Path") ?? "");
  });
  return { ...answer, name, path };
}

/**
 * Return the address at which the browser itself downloads a file, with the claim's cookie.
 * @param {string} claimId
 * @param {number} number
 */
export function filePath(claimId, number) {
  return `/api/v1/claims/${claimId}/files/${number}`;
}

/**
 * Return the address at which the browser itself downloads all files as a ZIP, with the claim's cookie.
 * @param {string} claimId
 */
export function zipPath(claimId) {
  return `/api/v1/claims/${claimId}/zip`;
}

/**
 * Fetch a file's ciphertext from byte `from` on. Rejects if there is no response.
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
 * Return the JSON of a response; null if it is empty or not JSON, such as a proxy's page.
 * @param {Response} response
 * @returns {Promise<any>}
 */
export async function read(response) {
  const text = await response.text();
  return text && response.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : null;
}
