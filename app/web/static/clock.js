/**
 * The service's clock. The reader's own may be wrong by years; what is kept here ends by the service's.
 */

/** The service's time at the page's own zero. Not the reader's clock: `performance.now()` is set by nobody. */
let offset = -Infinity;

/**
 * Set by any answer of the service.
 * @param {Response} response
 */
export function hear(response) {
  const told = Date.parse(response.headers.get("Date") ?? "");
  if (!Number.isNaN(told)) offset = told - performance.now();
}

/** Milliseconds since 1970, by the service's clock; before it was heard nothing is late. */
export function serviceNow() {
  return offset + performance.now();
}
