"""What one server takes at most, so that callers who mean harm cannot take all of it."""

from handlers.engine.query import Limits

# Bytes of a call's metadata. Ours are a token and a trace: a few hundred. gRPC would refuse from
# 8 KiB on by chance and from 16 KiB on for certain; where both are one, it never is by chance.
METADATA_BYTES = 16 * 1024
# Calls at once, of one connection and of all: what a full queue and a full batch hold, and twice
# that. So the queue refuses first (with RetryInfo), one connection cannot take every place, and
# what waits to be read stays within `CALLS` messages.
STREAMS, CALLS = 512, 1_024
# RankStreams at once, each of which keeps up to `Limits.streamed` requests waiting.
RANK_STREAMS = 32
# Bytes of a request, as the proto file has it: a candidate's tag and id, at their longest; those
# of a history item, with its rating; and all else (profile, version, what a newer caller adds).
CANDIDATE_BYTES, HISTORY_BYTES, OTHER_BYTES = 11, 18, 64 * 1024
# Connections at once; each costs some tens of KiB, and a file.
CONNECTIONS = 2_048
# Milliseconds in which a connection must have said what it is (TLS, then HTTP/2): who opens many
# and says nothing does not keep them.
HANDSHAKE_MS = 10_000
# Milliseconds: a caller that is silent is asked whether it is still there, and is gone if it does
# not answer; one that has not called for long is let go, and connects again when it does.
KEEPALIVE_MS, KEEPALIVE_ANSWER_MS, IDLE_MS = 60_000, 20_000, 30 * 60_000
# Callers may ask whether we are there as often; those who do so more often than this are cut off
# (after two warnings, gRPC's own number). 10 s is the least that a gRPC client can be set to.
LEAST_PING_MS = 10_000
# Milliseconds after which a connection to one of several workers is let go, once its calls have
# ended: its caller connects again, to any of them. Else all stay with those who outlived a worker
# that was killed, and the one in its place has nothing to do.
SHARED_AGE_MS = 20_000


def options(limits: Limits, shared: bool = False) -> list[tuple[str, int]]:
    """The options of a gRPC server; shared: other processes listen on its address as well."""
    return [
        *([("grpc.max_connection_age_ms", SHARED_AGE_MS)] if shared else []),
        ("grpc.max_receive_message_length", limits.message_bytes),  # also once decompressed
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        ("grpc.max_concurrent_streams", max(STREAMS, 2 * limits.queued)),
        ("grpc.max_allowed_incoming_connections", CONNECTIONS),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_MS),
        ("grpc.max_connection_idle_ms", IDLE_MS),
        ("grpc.http2.min_ping_interval_without_data_ms", LEAST_PING_MS),
    ]


def concurrent_calls(limits: Limits) -> int:
    """Calls at once, of all methods; the next is refused with RESOURCE_EXHAUSTED."""
    return max(CALLS, 4 * limits.queued)


def request_bytes(limits: Limits) -> int:
    """The most that a request within `limits` takes."""
    entries = CANDIDATE_BYTES * limits.candidates + HISTORY_BYTES * limits.history
    return entries + OTHER_BYTES
