/**
 * What the page says to the service, and how it reads the answers (docs/http-api.md).
 */

const ANSWER_WITHIN_MS = 60_000;

/**
 * An answer. `code` is the problem's, or `offline` when there was none; `gone` says that asking again is of no use.
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
 * Whether the claim still stands; takes nothing.
 * @param {string} claimId
 * @param {string} token
 */
export function standing(claimId, token) {
  return asked(`/api/v1/claims/${claimId}/blobs/0`, { method: "HEAD", token });
}

/**
 * The same for a claim whose right is a cookie, with the file's name; names are kept nowhere in the browser.
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
 * @param {{method: string, json?: object, token?: string | null}} request
 * @param {(response: Response) => void} [see]
 * @returns {Promise<Answer>}
 */
async function asked(path, { method, json, token }, see) {
  const headers = new Headers();
  if (json) headers.set("Content-Type", "application/json");
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const options = { method, headers, body: json && JSON.stringify(json) };
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const response = await fetch(path, { ...options, signal, credentials: "same-origin", cache: "no-store" });
    see?.(response);
    const text = await response.text();
    const data = text && response.headers.get("Content-Type")?.includes("json") ? JSON.parse(text) : null;
    return { ok: response.ok, gone: [404, 410].includes(response.status), code: data?.code ?? "", data };
  } catch {
    return { ok: false, gone: false, code: "offline", data: null };
  }
}
