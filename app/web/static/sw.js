/**
 * The service worker: streams the bytes that a page decrypts into a download, piece by piece, so that a file of any
 * size is saved without being held in memory.
 *
 * It responds only to addresses that a page has just announced, once each, and always with an attachment of unknown
 * type in a sandbox, so that the content is never displayed or run. It fetches, caches and stores nothing.
 */

const PREFIX = "/s/save/";
/** Pieces of 1 MiB buffered here, so that the page can decrypt while the browser writes. */
const PIECES_AHEAD = 4;

const NUDGE_BYTES = 65_536;

/** Allocate: V8 collects garbage on allocation, not on transfer, so Chromium would keep all pieces of a file. */
function nudge() {
  void new Uint8Array(NUDGE_BYTES);
}

/** @typedef {{name: string, size: number, port: MessagePort}} Announced */

/** @type {Map<string, Announced>} */
const announced = new Map();
const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

worker.addEventListener("install", () => void worker.skipWaiting());

// Any other message only keeps the worker alive: browsers stop a worker that is idle for half a minute.
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
 * Return a stream of the pieces that the page sends on request: bytes, `"end"`, or anything else for a failure.
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
