// The requests of a stream on their way.

import { once } from "node:events";

import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ClientDuplexStream } from "@grpc/grpc-js";

import {
  RankStreamRequestSchema,
  type RankStreamReply,
  type RankStreamRequest,
} from "./contract/anime/ranking/v1/ranking_pb.js";
import type { StreamedRequest } from "./client.js";

/**
 * Sends requests as fast as the server takes them; resolves when all are sent, or the call has ended.
 * Where `requests` throw, the call is cancelled, and this rejects with that.
 */
export function sent(
  call: ClientDuplexStream<RankStreamRequest, RankStreamReply>,
  requests: Iterable<StreamedRequest> | AsyncIterable<StreamedRequest>,
  timeoutMs: number,
): Promise<void> {
  const ended = new AbortController();
  call.once("close", () => ended.abort()).once("error", () => ended.abort());
  const sending = send(call, requests, timeoutMs, ended.signal);
  sending.catch(() => call.cancel()); // and whoever reads the call hears of it
  return sending;
}

async function send(
  call: ClientDuplexStream<RankStreamRequest, RankStreamReply>,
  requests: Iterable<StreamedRequest> | AsyncIterable<StreamedRequest>,
  timeoutMs: number,
  ended: AbortSignal,
): Promise<void> {
  let place = 0n;
  for await (const request of requests) {
    if (ended.aborted) return;
    const timeout = durationFromMs(timeoutMs);
    const taken = call.write(create(RankStreamRequestSchema, { id: place++, request, timeout }));
    if (!taken) await once(call, "drain", { signal: ended }).catch(() => undefined);
  }
  call.end();
}
