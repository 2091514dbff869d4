// Answers what the page asks, beside its thread, so that the page never stands still.

import { Model } from "./model.js";

const LIGHT = new URL("../light/", import.meta.url);
let model;

const METHODS = {
  open: async () => {
    const [catalogue, bytes] = await Promise.all([
      download("catalogue.json").then((found) => JSON.parse(new TextDecoder().decode(found))),
      download("ranker.onnx"),
    ]);
    model = await Model.open(catalogue, bytes);
    return model.described;
  },
  list: (asked) => model.list(asked),
  similar: (asked) => model.similar(asked),
  find: (asked) => model.find(asked),
  describe: (asked) => model.describeAll(asked),
};

// One after the other: a session runs once at a time.
let last = Promise.resolve();
addEventListener("message", ({ data: { call, method, asked } }) => {
  last = last.then(() => METHODS[method](asked)).then(
    (answer) => postMessage({ call, answer }),
    (error) => postMessage({ call, failed: String(error?.message ?? error) }),
  );
});

/** The bytes of a file of the model; tells the page how many have come. */
async function download(name) {
  const reply = await fetch(new URL(name, LIGHT));
  if (!reply.ok) throw new Error(`${name} could not be loaded (${reply.status})`);
  const parts = [];
  let size = 0;
  for (const reader = reply.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    postMessage({ progress: { name, bytes: size } });
  }
  const bytes = new Uint8Array(size);
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}
