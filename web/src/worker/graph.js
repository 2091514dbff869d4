// The light graph in ONNX Runtime, on one thread of WebAssembly.

import * as ort from "onnxruntime-web/wasm";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm";

ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
ort.env.wasm.wasmPaths = { wasm: new URL(wasm, import.meta.url).href };

// Candidates in one run: whole catalogues make tables of 25 MB, which take twice as long.
const TOGETHER = 2048;

export class Graph {
  /** bytes: of ranker.onnx; catalogue: of catalogue.json. */
  static async open(bytes, catalogue) {
    return new Graph(await ort.InferenceSession.create(bytes), catalogue);
  }

  constructor(session, { anime_id, profile, score }) {
    this.session = session;
    this.ids = anime_id;
    this.profile = profile.map(() => NaN); // nothing stated
    this.score = score;
  }

  /** Of the whole catalogue by name of an order, Float32Array[A]: `blended`, `rating`, `affinity`. */
  async scores(history) {
    const rating = new Float32Array(this.ids.length), affinity = new Float32Array(this.ids.length);
    const given = {
      user_id: new ort.Tensor("int64", BigInt64Array.of(0n), [1]), // nobody the graph knows
      history_ids: ids(history.map(({ id }) => id)),
      history_ratings: floats(history.map((watched) => watched.rating ?? NaN)),
      profile: floats(this.profile),
    };
    for (let at = 0; at < this.ids.length; at += TOGETHER) {
      const candidates = ids(this.ids.slice(at, at + TOGETHER));
      const found = await this.session.run({ ...given, candidate_ids: candidates }, ["rating", "affinity"]);
      rating.set(found.rating.data, at);
      affinity.set(found.affinity.data, at);
    }
    const beta = Math.fround(this.score.beta), mean = Math.fround(this.score.mean);
    // In float32 at each step, as the engine reckons.
    const blended = affinity.map((each, row) => each + Math.fround(beta * Math.fround(rating[row] - mean)));
    return { blended, rating, affinity };
  }
}

function ids(list) {
  return new ort.Tensor("int64", BigInt64Array.from(list, BigInt), [1, list.length]);
}

function floats(list) {
  return new ort.Tensor("float32", Float32Array.from(list), [1, list.length]);
}
