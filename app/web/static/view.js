/**
 * What the page shows. Its markup and sentences stand in the page already; here they are shown, filled and told again in
 * another language. Nothing builds markup from text.
 */

import { formatted, sentence } from "./language.js";

/** @typedef {import("./language.js").Values} Values */

/** What each sentence, and each view, was last filled with. @type {WeakMap<Element, Values>} */
const filled = new WeakMap();

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * @param {ParentNode} within
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function part(within, selector) {
  return /** @type {HTMLElement} */ (within.querySelector(selector));
}

/**
 * @param {string} name
 * @returns {HTMLElement}
 */
export function viewOf(name) {
  return part(document, `[data-view="${name}"]`);
}

/**
 * Show one state of the page, and let its heading be read out.
 * @param {string} name
 * @param {Values} values
 */
export function show(name, values = {}) {
  for (const view of allOf(document, "[data-view]")) view.hidden = view.dataset.view !== name;
  const view = viewOf(name);
  fill(view, values);
  for (const notice of allOf(view, "[data-notice], [data-status]")) put(notice, null);
  titled();
  scrollTo(0, 0);
  if (name !== "loading") part(view, "h1").focus({ preventScroll: true });
}

/**
 * Fill a view's own sentences and places. What lacks a value is hidden.
 * @param {HTMLElement} view
 * @param {Values} values
 */
export function fill(view, values) {
  const all = { ...filled.get(view), ...values };
  filled.set(view, all);
  for (const element of allOf(view, "[data-t]")) tell(element, element.dataset.t ?? "", all);
  for (const place of allOf(view, "[data-value]")) {
    const value = all[place.dataset.value ?? ""];
    place.textContent = formatted(value);
    /** @type {HTMLElement} */ (place.closest("[data-row]") ?? place).hidden = value === null || value === undefined;
  }
}

/**
 * Put a sentence into an element that has none of its own; null takes it away.
 * @param {HTMLElement} element
 * @param {string | null} key
 * @param {Values} values
 */
export function put(element, key, values = {}) {
  filled.set(element, values);
  element.dataset.said = key ?? "";
  if (key) tell(element, key, values);
  else element.textContent = "";
}

/**
 * @param {HTMLElement} element
 * @param {string} key
 * @param {Values} values
 */
function tell(element, key, values) {
  const text = sentence(key, values);
  if (text === undefined) return; // the words that came with the page stay
  if (text === null || "lacks" in element.dataset) element.hidden = text === null;
  if (text === null) element.dataset.lacks = "";
  else delete element.dataset.lacks;
  if (element.textContent !== text) element.textContent = text ?? "";
}

/** Tell everything again, in the language spoken now. */
export function retell() {
  for (const element of allOf(document, "[data-t]")) tell(element, element.dataset.t ?? "", {});
  for (const view of allOf(document, "[data-view]")) fill(view, {});
  for (const element of allOf(document, "[data-said]")) put(element, element.dataset.said ?? null, filled.get(element));
  titled();
}

/** The window's title says the state first: that is what a screen reader reads, and what a row of tabs shows. */
function titled() {
  const heading = document.querySelector("[data-view]:not([hidden]) h1");
  document.title = [heading?.textContent, document.body.dataset.organisation].filter(Boolean).join(" · ");
}

/**
 * Say what went wrong, where it is read out at once; null takes it back.
 * @param {string} view
 * @param {string | null} key
 * @param {Values} [values]
 */
export function notice(view, key, values) {
  put(part(viewOf(view), "[data-notice]"), key, values);
}

/**
 * Say what goes on, where it is read out in its turn; null takes it back.
 * @param {string} view
 * @param {string | null} key
 * @param {Values} [values]
 */
export function status(view, key, values) {
  put(part(viewOf(view), "[data-status]"), key, values);
}

let working = false;

/**
 * Run one thing at a time: a second click while the first is under way does nothing.
 * @param {() => Promise<void>} action
 */
export async function alone(action) {
  if (working) return;
  working = true;
  document.body.toggleAttribute("data-working", true);
  try {
    await action();
  } finally {
    working = false;
    document.body.toggleAttribute("data-working", false);
  }
}

/**
 * @param {ParentNode} within
 * @param {string} selector
 * @returns {HTMLElement[]}
 */
function allOf(within, selector) {
  return Array.from(within.querySelectorAll(selector));
}
