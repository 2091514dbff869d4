// Calls an anirank façade over gRPC.

export { Client, type Options, type StreamedRequest } from "./client.js";
export * from "./errors.js";
export * from "./contract/anime/ranking/v1/ranking_pb.js";
export { credentials } from "@grpc/grpc-js";
