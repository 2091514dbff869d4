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
    const history = [{ animeId: 3n, rating: 11 }];
    const refused = await client.rank({ candidateIds: [3n], history }).catch((error) => error);
    said.refused = [refused instanceof InvalidQuery, refused.faults[0].field];
  }
} catch (error) {
  said.failed = [error.name, error instanceof Overloaded && error.retryAfterMs > 0];
}
client.close();
console.log(JSON.stringify(said));
