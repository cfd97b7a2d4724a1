/**
 * The service worker: hands what a page decrypts to the browser as a download, piece by piece, so that a file of any
 * size goes to the disk without being held in memory.
 *
 * It answers nothing but the addresses that a page has just announced, once each, and always as an attachment of
 * unknown type in a sandbox: nothing that comes through here is ever shown or run. It fetches, caches and keeps nothing.
 */

const PREFIX = "/s/save/";
/** How many pieces of 1 MiB wait here, so that the page works while the browser writes. */
const PIECES_AHEAD = 4;

const NUDGE_BYTES = 65_536;

/** V8 thinks of collecting when memory is taken, not when it was handed over: else Chromium keeps all pieces of a file. */
function nudge() {
  void new Uint8Array(NUDGE_BYTES);
}

/** @typedef {{name: string, size: number, port: MessagePort}} Announced */

/** @type {Map<string, Announced>} */
const announced = new Map();
const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

worker.addEventListener("install", () => void worker.skipWaiting());

// Any other message only keeps the worker awake: a browser stops one that gets none for half a minute.
worker.addEventListener("message", (event) => {
  const port = event.ports[0];
  if (!port) return;
  const { ticket, name, size } = event.data;
  announced.set(ticket, { name, size, port });
  port.postMessage("announced");
});

worker.addEventListener("fetch", (event) => {
  const { pathname } = new URL(event.request.url);
  if (!pathname.startsWith(PREFIX)) return;
  const ticket = pathname.slice(PREFIX.length);
  const download = announced.get(ticket);
  if (!download) return;
  announced.delete(ticket);
  const { stream, over } = streamed(download.port);
  event.waitUntil(over);
  event.respondWith(new Response(stream, { headers: headersOf(download) }));
});

/** @param {Announced} download */
function headersOf({ name, size }) {
  const written = encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return {
    "Content-Type": "application/octet-stream",
    "Content-Disposition": `attachment; filename*=UTF-8''${written}`,
    "Content-Length": String(size),
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
  };
}

/**
 * A stream of the pieces that the page sends when it is asked for them: bytes, `"end"`, or anything else for a failure.
 * @param {MessagePort} port
 */
function streamed(port) {
  let finish = () => {};
  /** @type {Promise<void>} */
  const over = new Promise((resolve) => (finish = resolve));
  const source = {
    pull: (/** @type {ReadableStreamDefaultController} */ controller) =>
      /** @type {Promise<void>} */ (
        new Promise((resolve) => {
          port.onmessage = ({ data }) => {
            nudge();
            if (data instanceof Uint8Array) controller.enqueue(data);
            else if (data === "end") controller.close();
            else controller.error(new Error("cut"));
            if (!(data instanceof Uint8Array)) finish();
            resolve();
          };
          port.postMessage("more");
        })
      ),
    cancel: () => {
      port.postMessage("cancelled");
      finish();
    },
  };
  return { stream: new ReadableStream(source, { highWaterMark: PIECES_AHEAD }), over };
}
