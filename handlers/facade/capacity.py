"""What one server takes at most, so that callers who mean harm cannot take all of it."""

from handlers.engine.query import Limits

# Bytes and entries of a call's metadata. Ours are a token and a trace: a few hundred, and ten. gRPC
# would refuse from 8 KiB on by chance and from 16 KiB on for certain; where both are one, it never
# is by chance. An entry takes a caller one byte (HPACK), and us a hundred for as long as its call.
METADATA_BYTES, METADATA_ENTRIES = 8 * 1024, 100
# Calls at once, of all connections: twice what a full queue and a full batch hold, so that the
# queue refuses first.
CALLS = 1_024
# Calls of one connection at once that are read and answered, as edge proxies have it; and that
# HTTP/2 lets it open. Were these as few, gRPC's own clients would meet that limit: they take a
# stream for closed before the server does, and fail with UNAVAILABLE.
CALLS_OF_A_CONNECTION, STREAMS = 100, 512
# Of the calls, those of one address may be one in so many.
ADDRESS_SHARE = 2
# Health checks at once, and calls that stay open (health's Watch, reflection), in places of theirs.
HEALTH_CHECKS, LASTING_CALLS = 64, 64
# Seconds in which a call must have sent its message: the largest comes at 40 KB a second.
FIRST_MESSAGE_S = 10.0
# Bytes of a message of a stream beside its request: its id and its timeout.
ENVELOPE_BYTES = 64
# Rounds of the event loop from one large message, or long reply, to the next: gRPC hands over one
# call in each, so of sixteen that come one may be large before those behind it wait longer.
ROUNDS = 16
# Large messages that wait to be read are at most one in so many of the requests that may wait.
LARGE_SHARE = 4
# RankStreams at once, each of which keeps up to `Limits.streamed` requests waiting; those of one
# address are `ADDRESS_SHARE` of them.
RANK_STREAMS = 64
# Of one stream's requests, those that are large or whose answer is: more are not read meanwhile.
LARGE_OF_A_STREAM = 2
# Seconds after which a stream is ended over which nothing comes, or whose answers nobody reads.
IDLE_STREAM_S, UNREAD_STREAM_S = 60.0, 60.0
# Connections at once; each costs some tens of KiB, and a file.
CONNECTIONS = 2_048
# Milliseconds in which a connection must have said what it is (TLS, then HTTP/2): who opens many
# and says nothing does not keep them. It has as many again to take note of our settings: until it
# says so, gRPC holds it to none of the bounds on metadata.
HANDSHAKE_MS = 3_000
# Milliseconds: a caller that is silent is asked whether it is still there, and is gone if it does
# not answer; one that has not called for long is let go, and connects again when it does.
KEEPALIVE_MS, KEEPALIVE_ANSWER_MS, IDLE_MS = 60_000, 20_000, 2 * 60_000
# Callers may ask whether we are there as often; those who do so more often than this are cut off
# (after two warnings, gRPC's own number). 10 s is the least that a gRPC client can be set to.
LEAST_PING_MS = 10_000
# Over HTTP: bytes of a request's head, as much as web servers have by default; seconds after which
# a connection is let go that asks no more, and after which one is cut off that was told to go.
HEAD_BYTES = 16 * 1024
IDLE_HTTP_S, LINGER_S = 75, 2.0
# Milliseconds after which a connection to one of several workers is let go, once its calls have
# ended: its caller connects again, to any of them. Else all stay with those who outlived a worker
# that was killed, and the one in its place has nothing to do.
SHARED_AGE_MS = 20_000


def options(limits: Limits, shared: bool = False) -> list[tuple[str, int]]:
    """The options of a gRPC server; shared: other processes listen on its address as well."""
    return [
        *([("grpc.max_connection_age_ms", SHARED_AGE_MS)] if shared else []),
        ("grpc.max_receive_message_length", limits.message_bytes + ENVELOPE_BYTES),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        ("grpc.max_concurrent_streams", max(STREAMS, 2 * limits.queued)),
        ("grpc.max_allowed_incoming_connections", CONNECTIONS),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ("grpc.http2.settings_timeout", HANDSHAKE_MS),
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_MS),
        ("grpc.max_connection_idle_ms", IDLE_MS),
        ("grpc.http2.min_ping_interval_without_data_ms", LEAST_PING_MS),
    ]


def concurrent_calls(limits: Limits) -> int:
    """Calls at once; the next is refused with RESOURCE_EXHAUSTED."""
    return max(CALLS, 4 * limits.queued)
