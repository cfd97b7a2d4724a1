/**
 * The first script of the page: takes the link's secret out of the address bar before anything else runs. It imports
 * only code, and touches nothing but the address.
 */

import { readLink } from "./link.js";

/** @typedef {import("./link.js").FoundLink} FoundLink */
/**
 * @typedef {FoundLink & {sent: boolean}} AddressLink
 * `sent`: a mail program encoded the `#`, so the browser sent the secret to the service, in the path
 */

/**
 * Return the link in the address bar, if it has its secret, and remove everything from the address but page and language.
 * @returns {AddressLink | null}
 */
export function takeAddress() {
  const { href, pathname, search } = location;
  const page = /^\/s\/[A-Za-z0-9_-]*/i.exec(pathname)?.[0].replace("/S/", "/s/") ?? "/";
  const language = /^\?lang=[a-z]{2,3}(?![a-z])/.exec(search)?.[0] ?? "";
  if (href !== location.origin + page + language) history.replaceState(null, "", page + language);
  const found = readLink(href);
  return found && { ...found, sent: readLink(location.origin + pathname + search) !== null };
}

/** The link with which the page was opened. */
export const opened = takeAddress();
