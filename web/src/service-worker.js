// Keeps the built files, the model included, so that the page works without a network. The page is
// shown from one version of them, whole: a newer one is taken when nothing shows the old any more,
// or when the user asks for it.

const PREFIX = `anirank ${new URL(self.registration.scope).pathname} `, CACHE = PREFIX + VERSION;

self.addEventListener("install", (event) => event.waitUntil(keep()));
self.addEventListener("activate", (event) => event.waitUntil(forget()));
self.addEventListener("message", ({ data }) => {
  if (data === "take over") self.skipWaiting();
});
self.addEventListener("fetch", (event) => {
  const name = nameOf(event.request);
  if (Object.hasOwn(FILES, name)) event.respondWith(kept(event.request, name));
});

/** Keep every file of this version; fails, and is tried again, where one is of another. */
async function keep() {
  const cache = await caches.open(CACHE);
  for (const [name, sha256] of Object.entries(FILES)) {
    const reply = await fetch(name, { cache: "no-cache" });
    const content = await reply.arrayBuffer(), digest = await crypto.subtle.digest("SHA-256", content);
    const found = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    if (!reply.ok || found !== sha256) {
      await caches.delete(CACHE);
      throw new Error(`${name} is of another version`);
    }
    const headers = new Headers();
    for (const each of ["content-type", "content-security-policy"])
      if (reply.headers.has(each)) headers.set(each, reply.headers.get(each));
    await cache.put(name, new Response(content, { headers }));
  }
}

/** Drop the files of versions before; those of a page under another path are not ours. */
async function forget() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function kept(request, name) {
  const found = await (await caches.open(CACHE)).match(name);
  return found ?? fetch(request);
}

/** What a request asks for, as `FILES` names it. */
function nameOf({ method, url }) {
  const scope = self.registration.scope;
  if (method !== "GET" || !url.startsWith(scope)) return "";
  return new URL(url).pathname.slice(new URL(scope).pathname.length) || "index.html";
}
