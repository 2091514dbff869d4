"""The OpenAPI document, made of the contract's descriptors and of what the JSON form changes.

What a field means is said in the proto file, whose comments are taken from there.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from anirank.contract import ranking_pb2 as pb
from handlers.engine.query import Limits
from handlers.facade.protocols.http.exchange import JSON
from handlers.facade.protocols.http.kinds import VERSION
from handlers.facade.protocols.http.methods import Method
from handlers.facade.protocols.http.problems import PROBLEM
from handlers.facade.protocols.release import release

Schema = dict[str, Any]
Descriptor = Any  # of protobuf's two implementations, whose types know nothing of each other

# What the contract has and JSON has not: times stand in the header `server-timing`.
_LEFT_OUT = {"queue_time", "compute_time"}
_INTEGERS = {
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_UINT32: "int64",
    FieldDescriptor.TYPE_UINT64: "int64",
}
_NUMBERS = {FieldDescriptor.TYPE_FLOAT: "float", FieldDescriptor.TYPE_DOUBLE: "double"}
# Messages that JSON spells another way than its fields.
_SPELLED: dict[str, Schema] = {
    "Profile": {
        "type": "object",
        "additionalProperties": {"type": ["number", "string"]},
        "description": "By name, a number or a category; GetModelInfo names them.",
    },
    "Timestamp": {"type": "string", "format": "date-time"},
    "AnimeIds": {"type": "array", "items": {"type": "integer", "format": "int64"}},
    "Reason": {
        "description": "An anime that the user has watched, or a genre; what it adds to `wide`.",
        "oneOf": [
            {
                "type": "object",
                "properties": {
                    "anime_id": {"type": "integer", "format": "int64"},
                    "title": {"type": "string"},
                    "rating": {"type": "number", "minimum": 1, "maximum": 10},
                    "contribution": {"type": "number", "format": "float"},
                },
                "required": ["anime_id", "title", "contribution"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {
                    "genre": {"type": "string"},
                    "contribution": {"type": "number", "format": "float"},
                },
                "required": ["genre", "contribution"],
                "additionalProperties": False,
            },
        ],
    },
}
_TOP_K: Schema = {
    "minimum": 1,
    "description": "How many to answer, best first. Left out: all of the candidates, or else ten.",
}
# Of single fields, what holds of them beside their type.
_BOUNDS: dict[str, Schema] = {
    "HistoryItem.rating": {"type": ["number", "null"], "minimum": 1, "maximum": 10},
    "RecommendRequest.diversity": {"minimum": 0, "maximum": 1},
    **{
        f"{request}.{field}": {"type": ["integer", "null"]} | bound
        for request in ("RankRequest", "RecommendRequest", "SimilarRequest")
        for field, bound in (("user_id", {}), ("top_k", _TOP_K))
    },
}
_REQUIRED = {
    "RankRequest": ["candidate_ids"],
    "SimilarRequest": ["anime_ids"],
    "HistoryItem": ["anime_id"],
    "RecordWatchedRequest": ["user_id", "items"],
    "GetHistoryRequest": ["user_id"],
    "ForgetRequest": ["user_id"],
}
_PROBLEM: Schema = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "The code that gRPC has for it."},
        "errors": {
            "type": "array",
            "description": "Everything that is wrong in the request.",
            "items": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
                "required": ["path", "message"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code"],
    "additionalProperties": False,
}
_LIST: Schema = {
    "type": "object",
    "description": "How many anime of the list were watched, rated and planned, and how many of "
    "the watched are used as the history.",
    "properties": {name: {"type": "integer"} for name in ("watched", "rated", "planned", "used")},
    "required": ["watched", "rated", "planned", "used"],
    "additionalProperties": False,
}


def document(methods: Sequence[Method], limits: Limits) -> Schema:
    """The document of a server of these methods and limits (OpenAPI 3.1)."""
    schemas: dict[str, Schema] = {"Problem": _PROBLEM, "OwnList": _LIST}
    paths = {method.path: {method.verb.lower(): _operation(method, schemas)} for method in methods}
    for path, said in (
        ("/healthz", "Whether the process answers at all."),
        ("/readyz", "Whether requests would be answered now; 503 where not, and at the end."),
    ):
        paths[path] = {
            "get": {
                "operationId": path[1:],
                "summary": said,
                "security": [],
                "responses": {
                    "200": {
                        "description": "Yes.",
                        "content": {JSON: {"schema": {"type": "object"}}},
                    },
                    "default": _response("Problem", "No.", PROBLEM),
                },
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "anime.ranking.v1",
            "version": release(),
            "description": "Ranking anime for a user: the methods of the gRPC contract in JSON. "
            f"A request has up to {limits.candidates} candidates and {limits.history} anime of a "
            "history.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(method: Method, schemas: dict[str, Schema]) -> Schema:
    contract = pb.DESCRIPTOR.services_by_name["RankingService"].methods_by_name[method.name]
    request, reply = contract.input_type, contract.output_type
    operation: Schema = {
        "operationId": method.path.removeprefix("/v1/").replace("/", "-"),
        "summary": _comments().get(f"RankingService.{method.name}", ""),
        "parameters": [
            {
                "name": "grpc-timeout",
                "in": "header",
                "description": "How long the answer is of use, as in 500m (milliseconds) or 2S.",
                "schema": {"type": "string", "pattern": "^[0-9]{1,8}[HMSmun]$"},
            }
        ],
    }
    answered = _reference(reply, schemas)
    if method.kind is None and method.verb == "POST" and contract.client_streaming:
        line = _line(request, schemas, "StreamLine")
        operation["requestBody"] = _body(line, method.takes, method.example)
        answered = _answer_line(schemas)
        media = method.takes[0]
    elif method.kind is not None:
        asked = _reference(request, schemas)
        operation["requestBody"] = _body(asked, method.takes, method.example)
        media = JSON
    else:
        media = JSON
        if method.verb == "POST":
            operation["summary"] = (
                "Recommends by a list that MyAnimeList exported: the file, packed or not, is the "
                "body; the options of /v1/recommend stand in the query, objects as JSON."
            )
            packed = {"type": "string", "format": "binary"}
            operation["requestBody"] = _body(packed, method.takes)
            answered = {
                "type": "object",
                "properties": {**_object(reply, schemas)["properties"], "list": _ref("OwnList")},
                "required": [*_object(reply, schemas)["required"], "list"],
                "additionalProperties": False,
            }
            known = _object(request, schemas)["properties"]
            operation["parameters"] += [
                {"name": name, "in": "query", **_parameter(schema)}
                for name, schema in known.items()
                if name != "history"
            ]
        else:
            name = {"name": VERSION, "in": "query", "schema": {"type": "string"}}
            operation["parameters"].append(name)
    operation["responses"] = {
        "200": {"description": "The answer.", "content": {media: {"schema": answered}}},
        "default": _response("Problem", "What went wrong.", PROBLEM),
    }
    return operation


def _parameter(schema: Schema) -> Schema:
    if "$ref" in schema or schema.get("type") in ("object", "array"):
        return {"content": {JSON: {"schema": schema}}}
    return {"schema": schema}


def _body(schema: Schema, takes: Sequence[str], example: Any = None) -> Schema:
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"required": True, "content": dict.fromkeys(takes, content)}


def _response(name: str, said: str, media: str) -> Schema:
    return {"description": said, "content": {media: {"schema": _ref(name)}}}


def _line(request: Descriptor, schemas: dict[str, Schema], name: str) -> Schema:
    """A line of a stream; what is on it is one of the two requests."""
    fields = {each.name: each for each in request.fields}
    schemas[name] = {
        "type": "object",
        "properties": {
            "id": _field(fields["id"], schemas),
            "rank": _field(fields["rank"], schemas),
            "recommend": _field(fields["recommend"], schemas),
            "timeout": {"type": "number", "minimum": 0, "description": "Seconds."},
        },
        "oneOf": [{"required": ["rank"]}, {"required": ["recommend"]}],
        "additionalProperties": False,
    }
    return _ref(name)


def _answer_line(schemas: dict[str, Schema]) -> Schema:
    schemas["StreamAnswer"] = {
        "type": "object",
        "properties": {
            "id": {"type": "integer", "description": "Of the line that this answers."},
            "reply": _reference(pb.RankReply.DESCRIPTOR, schemas),
            "status": _ref("Problem"),
        },
        "required": ["id"],
        "oneOf": [{"required": ["reply"]}, {"required": ["status"]}],
        "additionalProperties": False,
    }
    return _ref("StreamAnswer")


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _reference(message: Descriptor, schemas: dict[str, Schema]) -> Schema:
    if message.full_name == "google.protobuf.Struct":
        return {"type": "object"}
    if message.name not in schemas:
        schemas[message.name] = {}  # its own, where it stands in itself
        schemas[message.name] = _object(message, schemas)
    return _ref(message.name)


def _object(message: Descriptor, schemas: dict[str, Schema]) -> Schema:
    said = _comments().get(message.name)
    described = {} if said is None else {"description": said}
    if message.name in _SPELLED:
        return {**described, **_SPELLED[message.name]}
    fields = [field for field in message.fields if field.name not in _LEFT_OUT]
    # A request may leave out all that it need not say; a reply says all but what is optional.
    asks = message.name in _REQUIRED or message.name.endswith(("Request", "Filter"))
    always = [field.name for field in fields if not field.has_presence and not _if_asked(field)]
    required = _REQUIRED.get(message.name, []) if asks else always
    return {
        "type": "object",
        **described,
        "properties": {field.name: _field(field, schemas) for field in fields},
        "required": required,
        "additionalProperties": False,
    }


def _if_asked(field: Descriptor) -> bool:
    return str(field.full_name).endswith(("RankedAnime.reasons", "RankReply.live_history"))


def _field(field: Descriptor, schemas: dict[str, Schema]) -> Schema:
    owner = field.containing_type.name
    schema = _type(field, schemas)
    if field.is_repeated:
        schema = {"type": "array", "items": schema}
    schema |= _BOUNDS.get(f"{owner}.{field.name}", {})
    said = _comments().get(f"{owner}.{field.name}")
    return schema if said is None else {"description": said, **schema}


def _type(field: Descriptor, schemas: dict[str, Schema]) -> Schema:
    if field.type in _INTEGERS:
        return {"type": "integer", "format": _INTEGERS[field.type]}
    if field.type in _NUMBERS:
        return {"type": "number", "format": _NUMBERS[field.type]}
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"type": "boolean"}
    if field.type == FieldDescriptor.TYPE_ENUM:
        return {"type": "string", "enum": _names(field.enum_type)}
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _reference(field.message_type, schemas)
    return {"type": "string"}


def _names(of: Descriptor) -> list[str]:
    """The names of an enum's values in JSON, without the one that stands for none."""
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", of.name).upper() + "_"
    return [value.name.removeprefix(prefix).lower() for value in of.values if value.number]


@cache
def _comments() -> dict[str, str]:
    """What the proto file says of `Message`, `Message.field` and `Service.Method`."""
    text = files("anirank.contract").joinpath("ranking.proto").read_text("utf-8")
    found: dict[str, str] = {}
    said: list[str] = []
    inside = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("//"):
            said.append(line.removeprefix("//").strip())
            continue
        if match := re.match(r"(?:message|enum|service) (\w+) \{", line):
            inside, name = match[1], match[1]
        elif match := re.match(r"rpc (\w+)\(|(?:[\w.<>, ]+) (\w+) = \d+;", line):
            name = f"{inside}.{match[1] or match[2]}"
        else:
            name = ""
        if name and said:
            found[name] = " ".join(said)
        said = []
    return found
