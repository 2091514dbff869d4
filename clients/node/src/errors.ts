// What a call can fail with; the errors of the Python client, by the same names.

import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { status as Code, type ServiceError } from "@grpc/grpc-js";

import { StatusSchema, type Status } from "./contract/anime/ranking/v1/ranking_pb.js";
import { BadRequestSchema, RetryInfoSchema } from "./contract/google/rpc/error_details_pb.js";

/** Any failure of a call; `code` is gRPC's. */
export class ServingError extends Error {
  constructor(
    message: string,
    readonly code: Code,
  ) {
    super(message);
    this.name = new.target.name;
  }
}

/** One thing that is wrong in a request: `field` is its path, as in `history[3].rating`. */
export interface Fault {
  field: string;
  reason: string;
}

/** A request that cannot be answered as it stands; `faults` is all that is wrong in it. */
export class InvalidQuery extends ServingError {
  constructor(
    message: string,
    readonly faults: Fault[],
  ) {
    super(message, Code.INVALID_ARGUMENT);
  }
}

/** Too much waits already; after `retryAfterMs` milliseconds there may be room. */
export class Overloaded extends ServingError {
  constructor(
    message: string,
    readonly retryAfterMs: number,
  ) {
    super(message, Code.RESOURCE_EXHAUSTED);
  }
}

/** The answer would have come too late. */
export class DeadlinePassed extends ServingError {}

/** Nobody answers, or what computes does not. */
export class BackendUnavailable extends ServingError {}

/** The server asks for a token, and knows not this one. */
export class Unauthenticated extends ServingError {}

/** The caller has not the right to do this. */
export class Forbidden extends ServingError {}

/** The server keeps no histories. */
export class HistoriesOff extends ServingError {}

/** The error of the same meaning as a call's. */
export function errorOfCall(error: ServiceError): ServingError {
  const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (details instanceof Buffer) {
    // The contract's Status is google.rpc.Status, byte for byte.
    return errorOfStatus(fromBinary(StatusSchema, details));
  }
  return plainError(error.code, error.details || error.message);
}

/** The error of the same meaning as a status, such as one of a stream. */
export function errorOfStatus(status: Status): ServingError {
  for (const detail of status.details) {
    const bad = anyUnpack(detail, BadRequestSchema);
    if (bad !== undefined && bad.fieldViolations.length > 0) {
      const faults = bad.fieldViolations.map(({ field, description: reason }) => ({ field, reason }));
      return new InvalidQuery(faults.map((each) => `${each.field}: ${each.reason}`).join("; "), faults);
    }
    const delay = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
    if (delay !== undefined) {
      return new Overloaded(status.message, Number(delay.seconds) * 1e3 + delay.nanos / 1e6);
    }
  }
  return plainError(status.code, status.message);
}

function plainError(code: Code, message: string): ServingError {
  switch (code) {
    case Code.DEADLINE_EXCEEDED:
      return new DeadlinePassed(message, code);
    case Code.UNAVAILABLE:
    case Code.CANCELLED: // by the server on its end, since the caller did not
      return new BackendUnavailable(message, code);
    case Code.UNAUTHENTICATED:
      return new Unauthenticated(message, code);
    case Code.PERMISSION_DENIED:
      return new Forbidden(message, code);
    case Code.FAILED_PRECONDITION:
      return new HistoriesOff(message, code);
    default:
      return new ServingError(`${Code[code]}: ${message}`, code);
  }
}
