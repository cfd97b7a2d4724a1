/**
 * The page's views. Their markup is in the HTML; this module shows them, fills in values, and updates their sentences
 * when the language changes. It never builds markup from text.
 */

import { formatted, sentence, speak } from "./language.js";

/** @typedef {import("./language.js").Values} Values */

/** The values last shown in each sentence and view. @type {WeakMap<Element, Values>} */
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
 * Show one state of the page, and focus its heading so that it is read out.
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
 * Fill a view's sentences and elements. An element without a value is hidden.
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
 * Return a copy of a template, in the page's language.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function copyOf(id) {
  const template = /** @type {HTMLTemplateElement} */ (byId(id));
  const copy = /** @type {HTMLElement} */ (/** @type {DocumentFragment} */ (template.content.cloneNode(true)).firstElementChild);
  fill(copy, {});
  return copy;
}

/**
 * Show a sentence in an element that has none of its own; null removes it.
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
  if (text === undefined) return; // keep the text of the HTML
  if (text === null || "lacks" in element.dataset) element.hidden = text === null;
  if (text === null) element.dataset.lacks = "";
  else delete element.dataset.lacks;
  if (element.textContent !== text) element.textContent = text ?? "";
}

/**
 * Let the switch change the language in place. `kept` returns what the address keeps behind the language.
 * @param {() => string} kept
 */
export function offerLanguages(kept = () => "") {
  const anchor = /** @type {HTMLAnchorElement} */ (byId("language"));
  anchor.addEventListener("click", (event) => {
    event.preventDefault();
    void switchLanguage(anchor, kept);
  });
}

/**
 * @param {HTMLAnchorElement} anchor
 * @param {() => string} kept
 */
async function switchLanguage(anchor, kept) {
  const wanted = anchor.hreflang;
  if (!(await speak(wanted))) return;
  history.replaceState(null, "", `?lang=${wanted}${kept()}`);
  retell();
  /** @type {Record<string, string>} */
  const names = JSON.parse(anchor.dataset.names ?? "{}");
  const every = Object.keys(names);
  const other = every[(every.indexOf(wanted) + 1) % every.length];
  Object.assign(anchor, { lang: other, hreflang: other, href: `?lang=${other}`, textContent: names[other] });
}

/** Update all sentences to the current language. */
function retell() {
  for (const element of allOf(document, "[data-t]")) tell(element, element.dataset.t ?? "", {});
  for (const view of allOf(document, "[data-view]")) fill(view, {});
  for (const element of allOf(document, "[data-said]")) put(element, element.dataset.said ?? null, filled.get(element));
  titled();
}

/** Put the state first in the document's title, for screen readers and narrow tabs. */
function titled() {
  const heading = document.querySelector("[data-view]:not([hidden]) h1");
  document.title = [heading?.textContent, document.body.dataset.organisation].filter(Boolean).join(" · ");
}

/**
 * Show an error, which is read out at once; null clears it.
 * @param {string} view
 * @param {string | null} key
 * @param {Values} [values]
 */
export function notice(view, key, values) {
  put(part(viewOf(view), "[data-notice]"), key, values);
}

/**
 * Show a status, which is read out in turn; null clears it.
 * @param {string} view
 * @param {string | null} key
 * @param {Values} [values]
 */
export function status(view, key, values) {
  put(part(viewOf(view), "[data-status]"), key, values);
}

let working = false;

/**
 * Run one action at a time: a click while one is running does nothing.
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
