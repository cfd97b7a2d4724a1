/**
 * The reader's language: sentences from the service's catalogues; dates, sizes and durations in the reader's locale.
 */

import { hear } from "./clock.js";

/**
 * A value that a sentence or an element can show.
 * `day` is a time in short; `lasting` is seconds, in the largest unit that they fill.
 * @typedef {string | number | Date | {bytes: number} | {seconds: number} | {day: Date} | {lasting: number} | null
 *   | undefined} Value
 * @typedef {Record<string, Value>} Values
 */

const SPEAKS_WITHIN_MS = 8_000;
const SLOT = /\{([a-z]+)\}/g;
/** Isolates inserted text, so that its direction does not change that of the sentence. */
const FIRST_STRONG = "\u2068";
const POP = "\u2069";

let language = document.documentElement.lang;
/** @type {Record<string, string | [string, string]>} */
let catalogue = {};
/** By locale and options. @type {Map<string, Intl.NumberFormat>} */
const numberFormats = new Map();

export function currentLanguage() {
  return language;
}

/** Return whether a catalogue is loaded. Without one, the page shows only the text of its HTML. */
export function speaks() {
  return Object.keys(catalogue).length > 0;
}

/**
 * Load a catalogue and use it. Return false, and change nothing, if it cannot be loaded.
 * @param {string} wanted
 * @returns {Promise<boolean>}
 */
export async function speak(wanted) {
  try {
    const signal = AbortSignal.timeout(SPEAKS_WITHIN_MS);
    const response = await fetch(new URL(`./${wanted}.json`, import.meta.url), { signal });
    hear(response);
    if (!response.ok) return false;
    catalogue = await response.json();
    language = document.documentElement.lang = wanted;
    return true;
  } catch {
    return false;
  }
}

/**
 * Return a sentence with its values; null if one of them is missing, undefined if the catalogue lacks the sentence.
 * `count` selects singular or plural.
 * @param {string} key
 * @param {Values} values
 * @returns {string | null | undefined}
 */
export function sentence(key, values = {}) {
  let missing = false;
  const text = form(key, values)?.replace(SLOT, (_, slot) => {
    const value = values[slot];
    if (value === null || value === undefined) missing = true;
    return typeof value === "string" ? `${FIRST_STRONG}${value}${POP}` : formatted(value);
  });
  return missing ? null : text;
}

/**
 * @param {string} key
 * @param {Values} values
 * @returns {string | undefined}
 */
function form(key, values) {
  const written = catalogue[key];
  if (typeof written !== "object") return written;
  return written[new Intl.PluralRules(language).select(Number(values.count)) === "one" ? 0 : 1];
}

/**
 * @param {Value} value
 * @returns {string}
 */
export function formatted(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  if (typeof value === "number") return numbers(locale()).format(value);
  if (value instanceof Date) return moment(value);
  if ("day" in value) return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short" }).format(value.day);
  if ("lasting" in value) return lasting(value.lasting);
  return "bytes" in value ? bytes(value.bytes) : span(value.seconds);
}

/** Return the reader's locale of the language, for dates and numbers. */
function locale() {
  return navigator.languages.find((tag) => tag.split("-")[0] === language) ?? language;
}

/** @param {Date} time on the reader's clock */
function moment(time) {
  const written = new Intl.DateTimeFormat(locale(), { dateStyle: "full", timeStyle: "short" }).format(time);
  return `${written} (${zone(time)})`;
}

/**
 * Return the name of the reader's time zone; its offset only if the browser knows no name.
 * @param {Date} time
 */
function zone(time) {
  const names = /** @type {const} */ (["long", "longGeneric"]).map((timeZoneName) => {
    const parts = new Intl.DateTimeFormat(locale(), { timeZoneName }).formatToParts(time);
    return parts.find(({ type }) => type === "timeZoneName")?.value ?? "";
  });
  return names.find((name) => name && !/\d/.test(name)) ?? names[0];
}

/** @param {number} count */
function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, count)) / 3)));
  return measured(count / 1000 ** step, units[step], step > 0 ? "short" : "long");
}

/** @param {number} seconds */
function span(seconds) {
  if (seconds < 59.5) return measured(Math.max(1, Math.round(seconds)), "second", "long");
  if (seconds < 5_370) return measured(Math.round(seconds / 60), "minute", "long");
  if (seconds < 36_000) return measured(seconds / 3_600, "hour", "long");
  return measured(Math.round(seconds / 3_600), "hour", "long");
}

/** @param {number} seconds */
function lasting(seconds) {
  if (seconds >= 86_400 && seconds % 86_400 === 0) return measured(seconds / 86_400, "day", "long");
  return span(seconds);
}

/**
 * @param {number} count
 * @param {string} unit
 * @param {"short" | "long"} unitDisplay
 */
function measured(count, unit, unitDisplay) {
  return numbers(locale(), { style: "unit", unit, unitDisplay, maximumFractionDigits: 1 }).format(count);
}

/**
 * Return a number format. Each is made once, because making it takes longer than everything else about a sentence.
 * @param {string} tag
 * @param {Intl.NumberFormatOptions} [options]
 */
function numbers(tag, options) {
  const key = tag + JSON.stringify(options);
  const made = numberFormats.get(key) ?? new Intl.NumberFormat(tag, options);
  numberFormats.set(key, made);
  return made;
}
