// The client: one promise a call, asked again where the server says when.

import { setTimeout as pause } from "node:timers/promises";

import {
  create,
  fromBinary,
  toBinary,
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
  type ModelInfo,
  type RankReply,
  type RankRequestSchema,
  type RecommendRequestSchema,
  type SimilarReply,
  type SimilarRequestSchema,
} from "./contract/anime/ranking/v1/ranking_pb.js";
import { errorOfCall, Overloaded } from "./errors.js";

/** Of a hint: who was refused together does not come back together. */
const JITTER = 0.5;

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

  /** Which model answers, its limits and its profile fields. */
  modelInfo(): Promise<ModelInfo> {
    return this.#call(RankingService.method.getModelInfo, {});
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
        `/${method.parent.typeName}/${method.name}`,
        (sent: MessageShape<M["input"]>) => Buffer.from(toBinary(method.input, sent)),
        (got: Buffer) => fromBinary(method.output, got) as MessageShape<M["output"]>,
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

function isLocal(address: string): boolean {
  return /^(unix:|localhost:|127\.|\[::1\])/.test(address);
}
