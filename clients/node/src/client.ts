// The client: one promise a call, asked again where the server says when; and many over one stream.

import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  Client as Channel,
  credentials as made,
  Metadata,
  type ChannelCredentials,
  type ServiceError,
} from "@grpc/grpc-js";

import {
  RankingService,
  RankStreamReplySchema,
  RankStreamRequestSchema,
  type ForgetReply,
  type GetHistoryReply,
  type GetModelInfoRequestSchema,
  type ModelInfo,
  type RankReply,
  type RankRequestSchema,
  type RecommendRequestSchema,
  type RecordWatchedReply,
  type RecordWatchedRequestSchema,
  type SimilarReply,
  type SimilarRequestSchema,
} from "./contract/anime/ranking/v1/ranking_pb.js";
import { errorOfCall, errorOfStatus, Overloaded, type ServingError } from "./errors.js";
import { sent } from "./sending.js";

/** Of a hint: who was refused together does not come back together. */
const JITTER = 0.5;

/** One request of a stream: `{ case: "rank", value }` or `{ case: "recommend", value }`. */
export type StreamedRequest = MessageInitShape<typeof RankStreamRequestSchema>["request"];

export interface Options {
  /** How to reach the server; without it there is no TLS. `credentials.createSsl` makes one. */
  credentials?: ChannelCredentials;
  /** Goes with every call, over TLS or to this machine alone. */
  token?: string;
  /** Milliseconds that a call may take, with all its tries. */
  timeoutMs?: number;
  /** How many times more to ask where the server is full and says when to come back. */
  retries?: number;
}

/** Calls a façade at HOST:PORT, or at `dns:///NAME:PORT`, of which all servers are called in turn. */
export class Client {
  readonly #channel: Channel;
  readonly #metadata = new Metadata();
  readonly #timeoutMs: number;
  readonly #retries: number;

  constructor(address: string, options: Options = {}) {
    const { credentials, token, timeoutMs = 10_000, retries = 2 } = options;
    if (token !== undefined) {
      if (credentials === undefined && !isLocal(address)) {
        throw new TypeError(`${address}: the token would go there unencrypted; give credentials`);
      }
      this.#metadata.set("authorization", `Bearer ${token}`);
    }
    this.#timeoutMs = timeoutMs;
    this.#retries = retries;
    this.#channel = new Channel(address, credentials ?? made.createInsecure(), {
      "grpc.max_receive_message_length": -1,
      "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    });
  }

  /** Orders the candidates. */
  rank(request: MessageInitShape<typeof RankRequestSchema>): Promise<RankReply> {
    return this.#call(RankingService.method.rank, request);
  }

  /** Chooses from the whole catalogue. */
  recommend(request: MessageInitShape<typeof RecommendRequestSchema> = {}): Promise<RankReply> {
    return this.#call(RankingService.method.recommend, request);
  }

  /** What is most like one anime or several. */
  similar(request: MessageInitShape<typeof SimilarRequestSchema>): Promise<SimilarReply> {
    return this.#call(RankingService.method.similar, request);
  }

  /**
   * Answers many over one stream: the place of each in `requests` and its reply, or what it failed
   * with, as soon as it is there, in any order. Throws what ends the stream, and what `requests` throws.
   */
  async *stream(
    requests: Iterable<StreamedRequest> | AsyncIterable<StreamedRequest>,
  ): AsyncGenerator<[number, RankReply | ServingError]> {
    const call = this.#channel.makeBidiStreamRequest(
      pathOf(RankingService.method.rankStream),
      writerOf(RankStreamRequestSchema),
      readerOf(RankStreamReplySchema),
      this.#metadata,
    );
    const sending = sent(call, requests, this.#timeoutMs);
    try {
      for await (const { id, result } of call as AsyncIterable<MessageShape<typeof RankStreamReplySchema>>) {
        if (result.case === "reply") yield [Number(id), result.value];
        else if (result.case === "status") yield [Number(id), errorOfStatus(result.value)];
      }
    } catch (error) {
      await sending; // where the requests failed, that is why the call ended
      throw errorOfCall(error as ServiceError);
    } finally {
      call.cancel();
    }
    await sending;
  }

  /**
   * Records what a user has watched; it is kept once this answers. It counts once under its
   * `requestId`, a new one unless given, however often it is sent.
   */
  recordWatched(request: MessageInitShape<typeof RecordWatchedRequestSchema>): Promise<RecordWatchedReply> {
    return this.#call(RankingService.method.recordWatched, { requestId: randomUUID(), ...request });
  }

  /** What requests of a user are ranked by, recorded or stored. */
  getHistory(userId: bigint): Promise<GetHistoryReply> {
    return this.#call(RankingService.method.getHistory, { userId });
  }

  /** Forgets a user, for good. */
  forget(userId: bigint): Promise<ForgetReply> {
    return this.#call(RankingService.method.forget, { userId });
  }

  /** Which model answers, its limits and its profile fields. */
  modelInfo(request: MessageInitShape<typeof GetModelInfoRequestSchema> = {}): Promise<ModelInfo> {
    return this.#call(RankingService.method.getModelInfo, request);
  }

  close(): void {
    this.#channel.close();
  }

  async #call<M extends DescMethodUnary>(
    method: M,
    request: MessageInitShape<M["input"]>,
  ): Promise<MessageShape<M["output"]>> {
    const message = create(method.input, request) as MessageShape<M["input"]>;
    const until = Date.now() + this.#timeoutMs;
    for (let tried = 0; ; tried++) {
      try {
        return await this.#try(method, message, until);
      } catch (error) {
        // Refused with a hint, it was not begun; of any other failure nobody knows that.
        if (!(error instanceof Overloaded) || tried === this.#retries) throw error;
        const waitMs = error.retryAfterMs * (1 + JITTER * Math.random());
        if (Date.now() + waitMs >= until) throw error;
        await pause(waitMs);
      }
    }
  }

  #try<M extends DescMethodUnary>(
    method: M,
    message: MessageShape<M["input"]>,
    deadline: number,
  ): Promise<MessageShape<M["output"]>> {
    return new Promise((resolve, reject) => {
      this.#channel.makeUnaryRequest(
        pathOf(method),
        writerOf(method.input as M["input"]),
        readerOf(method.output as M["output"]),
        message,
        this.#metadata,
        { deadline },
        (error: ServiceError | null, reply?: MessageShape<M["output"]>) => {
          if (error !== null) reject(errorOfCall(error));
          else resolve(reply!);
        },
      );
    });
  }
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function writerOf<D extends DescMessage>(schema: D): (message: MessageShape<D>) => Buffer {
  return (message) => Buffer.from(toBinary(schema, message));
}

function readerOf<D extends DescMessage>(schema: D): (content: Buffer) => MessageShape<D> {
  return (content) => fromBinary(schema, content);
}

function isLocal(address: string): boolean {
  return /^(unix:|localhost:|127\.|\[::1\])/.test(address);
}
