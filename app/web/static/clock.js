/**
 * The service's clock, and waiting. The reader's own clock may be wrong by years, so stored records expire by the
 * service's.
 */

/** The service's time when `performance.now()` was zero; unlike the reader's clock, nobody can set that. */
let offset = -Infinity;

/**
 * Read the time from a response of the service.
 * @param {Response} response
 */
export function hear(response) {
  const told = Date.parse(response.headers.get("Date") ?? "");
  if (!Number.isNaN(told)) offset = told - performance.now();
}

/** Return milliseconds since 1970 by the service's clock; -Infinity before the first response, so nothing is late. */
export function serviceNow() {
  return offset + performance.now();
}

/**
 * Wait, at most until the browser is online again.
 * @param {number} ms
 * @returns {Promise<void>}
 */
export function pause(ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    addEventListener("online", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
