/**
 * Saves decrypted bytes to disk: through the service worker, which streams them into a download, or from memory if
 * there is no worker and the file is small.
 */

/** @typedef {import("./encoding.js").Bytes} Bytes */

const WORKER = "/s/assets/sw.js";
const SCOPE = "/s/";
const ANSWER_WITHIN_MS = 5_000;
const AWAKE_EVERY_MS = 10_000;

/** Maximum size of a file saved from memory, without a service worker. */
export const MEMORY_BYTES = 256 * 1024 * 1024;

/** The reader, or the browser, stopped the download. */
export class Cancelled extends Error {}

/** The worker does not respond. Nothing of the file was requested yet. */
export class NoWorker extends Error {}

/** The only address from which this page may register a worker (Trusted Types). */
const trusted = globalThis.trustedTypes?.createPolicy("caducee", {
  createScriptURL: (url) => {
    if (url !== WORKER) throw new TypeError("not the page's worker");
    return url;
  },
});

/**
 * Return the page's active service worker; null if the browser has none, as in some private windows.
 * @returns {Promise<ServiceWorker | null>}
 */
export async function saver() {
  if (!("serviceWorker" in navigator)) return null;
  try {
    const url = /** @type {string} */ (trusted ? /** @type {unknown} */ (trusted.createScriptURL(WORKER)) : WORKER);
    const registering = navigator.serviceWorker.register(url, { scope: SCOPE, updateViaCache: "none" });
    return await within(ANSWER_WITHIN_MS, registering.then(activeWorker)); // loading its script may be slow, too
  } catch {
    return null;
  }
}

/**
 * @param {ServiceWorkerRegistration} registration
 * @returns {Promise<ServiceWorker>}
 */
function activeWorker(registration) {
  return new Promise((resolve) => {
    const worker = registration.installing ?? registration.waiting ?? registration.active;
    if (!worker || worker.state === "activated") return resolve(/** @type {ServiceWorker} */ (registration.active));
    worker.addEventListener("statechange", () => worker.state === "activated" && resolve(worker));
  });
}

/**
 * Stream pieces into a download. Resolves once the browser has accepted the last one. Throws the errors of `open`,
 * Cancelled, or NoWorker before the first piece was requested.
 * @param {ServiceWorker} worker
 * @param {{name: string, size: number}} file
 * @param {() => AsyncGenerator<Bytes, void, void>} open returns the pieces; called once the browser requests them
 */
export async function saveByWorker(worker, file, open) {
  const { port1: port, port2 } = new MessageChannel();
  const said = messagesOf(port);
  const ticket = crypto.randomUUID();
  worker.postMessage({ ticket, ...file }, [port2]);
  await within(ANSWER_WITHIN_MS, said.next());
  const frame = document.createElement("iframe");
  frame.hidden = true;
  frame.src = `${SCOPE}save/${ticket}`;
  document.body.append(frame);
  const awake = setInterval(() => worker.postMessage("awake"), AWAKE_EVERY_MS);
  const leave = () => port.postMessage("cut"); // otherwise the browser would wait for a closed page forever
  addEventListener("pagehide", leave);
  try {
    let wanted = await within(ANSWER_WITHIN_MS, said.next());
    await sendPieces(port, said, open(), wanted, () => worker.postMessage("awake"));
  } finally {
    clearInterval(awake);
    removeEventListener("pagehide", leave);
    port.close();
    setTimeout(() => frame.remove(), ANSWER_WITHIN_MS);
  }
}

/**
 * @param {MessagePort} port
 * @param {AsyncIterator<string>} said
 * @param {AsyncGenerator<Bytes, void, void>} pieces
 * @param {IteratorResult<string>} wanted the worker's first message
 * @param {() => void} keepAwake called while bytes flow: timers are throttled in hidden tabs
 */
async function sendPieces(port, said, pieces, wanted, keepAwake) {
  let spoken = performance.now();
  try {
    for await (const piece of pieces) {
      if (wanted.value === "cancelled") throw new Cancelled();
      port.postMessage(piece, [piece.buffer]);
      if (performance.now() - spoken > AWAKE_EVERY_MS) {
        keepAwake();
        spoken = performance.now();
      }
      wanted = await said.next();
    }
    if (wanted.value === "cancelled") throw new Cancelled();
    port.postMessage("end");
  } catch (error) {
    port.postMessage("cut");
    throw error;
  }
}

/**
 * Collect pieces in memory and save them at the end.
 * @param {string} name
 * @param {AsyncGenerator<Bytes, void, void>} pieces
 */
export async function saveFromMemory(name, pieces) {
  /** @type {Bytes[]} */
  const held = [];
  for await (const piece of pieces) held.push(piece);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(held, { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * Yield the messages of a port, in order.
 * @param {MessagePort} port
 * @returns {AsyncIterator<string>}
 */
function messagesOf(port) {
  /** @type {string[]} */
  const arrived = [];
  /** @type {((result: IteratorResult<string>) => void) | null} */
  let waiting = null;
  port.onmessage = ({ data }) => {
    if (!waiting) return void arrived.push(data);
    waiting({ value: data, done: false });
    waiting = null;
  };
  return {
    next: () =>
      new Promise((resolve) => {
        const value = arrived.shift();
        if (value === undefined) waiting = resolve;
        else resolve({ value, done: false });
      }),
  };
}

/**
 * @template T
 * @param {number} ms
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
function within(ms, promise) {
  return Promise.race([
    promise,
    new Promise((_, reject) => void setTimeout(() => reject(new NoWorker()), ms)),
  ]);
}
