// Ranks anime for a visitor by a bundle's ONNX file; nothing of anirank is imported.
//
//     npm ci --ignore-scripts   (a script would fetch what a GPU needs)
//     node rank.mjs ../../model_store/anime/1 '{"1": 9, "5": null}' 6 7 8 15
//
// The second argument is the history: a rating by anime id, null for what was watched and not rated.
// What follows are the anime to rank. Each comes out on a line: its id, its score, its predicted
// rating, the best first.

import { readFile } from "node:fs/promises";
import { argv, exit } from "node:process";
import ort from "onnxruntime-node";

const [bundle, history = "{}", ...candidates] = argv.slice(2);
if (bundle === undefined || candidates.length === 0) {
  console.error("give a bundle, a history and the ids of anime");
  exit(2);
}

const int64 = (ids) => new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
const float32 = (numbers) => new ort.Tensor("float32", Float32Array.from(numbers), [1, numbers.length]);

// Sessions for JavaScript do not show the file's metadata; the manifest has the same.
const manifest = JSON.parse(await readFile(`${bundle}/manifest.json`, "utf8"));
const session = await ort.InferenceSession.create(`${bundle}/ranker.onnx`);

const watched = Object.entries(JSON.parse(history));
const { rating, affinity, known } = await session.run({
  user_id: new ort.Tensor("int64", [0n], [1]), // nobody the model knows
  history_ids: int64(watched.map(([id]) => id)),
  history_ratings: float32(watched.map(([, given]) => given ?? NaN)),
  profile: float32(manifest.profile.map(() => NaN)), // NaN: not known
  candidate_ids: int64(candidates),
});

const { beta, mean } = manifest.score;
candidates
  .map((id, at) => ({
    id,
    known: known.data[at],
    rating: rating.data[at],
    score: affinity.data[at] + beta * (rating.data[at] - mean),
  }))
  .filter((anime) => anime.known) // the others are not in the catalogue
  .sort((one, other) => other.score - one.score)
  .forEach(({ id, score, rating }) => console.log(id, score, rating));
