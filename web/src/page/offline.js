// The page without a network: registers what keeps the files, once they have been loaded.

import { byId } from "./elements.js";

export async function keepOffline() {
  const said = byId("offline");
  if (!navigator.serviceWorker) {
    said.textContent = "Here it works with a network alone: without one, browsers show only what came over HTTPS.";
    return;
  }
  let asked = false;
  navigator.serviceWorker.addEventListener("controllerchange", () => { if (asked) location.reload(); });
  try {
    const registration = await navigator.serviceWorker.register("service-worker.js");
    registration.addEventListener("updatefound", () => offer(registration));
    offer(registration);
    await navigator.serviceWorker.ready;
    said.textContent = "Kept in this browser: it works without a network now.";
  } catch {
    said.textContent = "This browser does not keep it for use without a network.";
  }

  function offer({ installing, waiting }) {
    const renew = byId("renew");
    const show = (worker) => {
      renew.hidden = false;
      renew.onclick = () => {
        asked = true;
        worker.postMessage("take over");
      };
    };
    if (waiting) show(waiting);
    installing?.addEventListener("statechange", ({ target }) => {
      if (target.state === "installed" && navigator.serviceWorker.controller) show(target);
    });
  }
}
