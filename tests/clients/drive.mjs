// Asks a façade with the client of clients/node, and prints what it hears as JSON.

import { argv } from "node:process";

const [, , library, address, what] = argv;
const { Client, InvalidQuery, Overloaded } = await import(library);

const client = new Client(address, { retries: what === "patient" ? 1000 : 0, timeoutMs: 60_000 });
const said = {};
try {
  const reply = await client.rank({ candidateIds: [3n, 6n, 9n], userId: 10n });
  said.ranked = reply.ranking.map(({ animeId, score }) => [Number(animeId), score]);
  if (what === "all") {
    said.recommended = (await client.recommend({ topK: 3 })).ranking.map((each) => each.title);
    const alike = await client.similar({ animeIds: [3n], topK: 2 }).catch((error) => error);
    said.similar = alike.ranking?.map((each) => Number(each.animeId)) ?? alike.name;
    said.name = (await client.modelInfo()).name;
    const value = { candidateIds: [3n, 6n, 9n] };
    const asked = [10n, 11n, 0n].map((userId) => ({ case: "rank", value: { ...value, userId } }));
    const wrong = { case: "rank", value: { ...value, history: [{ animeId: 3n, rating: 11 }] } };
    said.streamed = {};
    for await (const [place, outcome] of client.stream([...asked, wrong])) {
      said.streamed[place] = outcome.ranking?.map(({ animeId, score }) => [Number(animeId), score]) ?? outcome.name;
    }
    const many = Array.from({ length: 500 }, () => asked[0]);
    said.many = (await all(client.stream(many))).length;
    for await (const _ of client.stream(many)) break; // a stream may be left
    said.broken = await all(client.stream(failing(asked))).catch((error) => error.message);
    said.off = (await client.recordWatched({ userId: 10n, items: [{ animeId: 3n }] }).catch((error) => error)).name;
    const history = [{ animeId: 3n, rating: 11 }];
    const refused = await client.rank({ candidateIds: [3n], history }).catch((error) => error);
    said.refused = [refused instanceof InvalidQuery, refused.faults[0].field];
  }
} catch (error) {
  said.failed = [error.name, error instanceof Overloaded && error.retryAfterMs > 0];
}
client.close();

async function all(outcomes) {
  const found = [];
  for await (const outcome of outcomes) found.push(outcome);
  return found;
}

async function* failing(asked) {
  yield* asked;
  throw new Error("no more of them");
}

console.log(JSON.stringify(said));
