"""A request in the bytes that each kind of system takes, and the anime in its reply."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

from anirank.contract import ranking_pb2 as pb
from benchmarks.load.workload import Ask, Ids
from handlers.engine.query import Query, Ranking
from handlers.forms import binary
from handlers.torchserve.inference import inference_pb2

RANK = "/anime.ranking.v1.RankingService/Rank"
PREDICTIONS = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"


class Form(Protocol):
    """Writes requests and reads replies; raises what its library raises where bytes are wrong."""

    def write(self, ask: Ask) -> bytes:
        """The request's bytes."""

    def read(self, reply: bytes) -> list[int]:
        """The ids answered, best first."""


@dataclass(frozen=True)
class Proto:
    """RankRequest, as the façade and the echo take it."""

    def write(self, ask: Ask) -> bytes:
        """See `Form.write`."""
        request = pb.RankRequest(
            user_id=ask.user_id,
            candidate_ids=ask.candidate_ids.tolist(),
            history=[
                pb.HistoryItem(anime_id=anime, rating=None if np.isnan(rating) else rating)
                for anime, rating in _history(ask)
            ],
            top_k=ask.top_k,
        )
        return bytes(request.SerializeToString())

    def read(self, reply: bytes) -> list[int]:
        """See `Form.read`."""
        return [entry.anime_id for entry in pb.RankReply.FromString(reply).ranking]


@dataclass(frozen=True)
class Json:
    """JSON, as this project's handler, the plain one and LitServe take it."""

    def write(self, ask: Ask) -> bytes:
        """See `Form.write`."""
        document: dict[str, Any] = {
            "user_id": ask.user_id,
            "candidate_ids": ask.candidate_ids.tolist(),
            "history": [
                {"anime_id": anime} | ({} if np.isnan(rating) else {"rating": rating})
                for anime, rating in _history(ask)
            ],
            "top_k": ask.top_k,
        }
        return json.dumps(document, separators=(",", ":")).encode()

    def read(self, reply: bytes) -> list[int]:
        """See `Form.read`."""
        return [entry["anime_id"] for entry in json.loads(reply)["ranking"]]


@dataclass(frozen=True)
class Binary:
    """The handler's binary form in TorchServe's gRPC message, for the model of this name."""

    model: str
    version: str

    def write(self, ask: Ask) -> bytes:
        """See `Form.write`."""
        body = binary.write_queries([query(ask)])
        request = inference_pb2.PredictionsRequest(
            model_name=self.model, model_version=self.version, input={"body": body}
        )
        return bytes(request.SerializeToString())

    def read(self, reply: bytes) -> list[int]:
        """See `Form.read`."""
        [answer] = binary.read_rankings(
            inference_pb2.PredictionResponse.FromString(reply).prediction
        )
        if not isinstance(answer, Ranking):
            raise answer
        ids: list[int] = answer.anime_ids.tolist()
        return ids


@dataclass(frozen=True)
class Tensors:
    """KServe's inference protocol, as Triton takes it, for the model of this name."""

    model: str

    def write(self, ask: Ask) -> bytes:
        """See `Form.write`."""
        inputs: dict[str, NDArray[Any]] = {
            "user_id": np.array([[ask.user_id]], np.int64),
            "history_ids": ask.history_ids[None],
            "history_ratings": ask.history_ratings[None],
            "candidate_ids": ask.candidate_ids[None],
        }
        types = {"int64": "INT64", "float32": "FP32"}
        request = _message("ModelInferRequest")(
            model_name=self.model,
            inputs=[
                {"name": name, "datatype": types[array.dtype.name], "shape": array.shape}
                for name, array in inputs.items()
            ],
            raw_input_contents=[array.tobytes() for array in inputs.values()],
        )
        return bytes(request.SerializeToString())

    def read(self, reply: bytes) -> list[int]:
        """See `Form.read`."""
        answer = _message("ModelInferResponse").FromString(reply)
        place = [output.name for output in answer.outputs].index("anime_ids")
        ids: list[int] = np.frombuffer(answer.raw_output_contents[place], np.int64).tolist()
        return ids


@dataclass(frozen=True)
class Checked:
    """Checks that a reply to the pool's request has as many anime as were asked for, all asked."""

    form: Form
    asked: Sequence[Ids]
    top_k: int

    def __call__(self, reply: bytes, place: int) -> None:
        """Raise ValueError where it has not."""
        found, asked = self.form.read(reply), self.asked[place]
        if len(found) != min(self.top_k or len(asked), len(np.unique(asked))):
            raise ValueError(f"{len(found)} anime answered to {len(asked)} candidates")
        if not set(found) <= set(asked.tolist()):
            raise ValueError("an anime was answered that was not asked for")


def query(ask: Ask) -> Query:
    """The request as the engine takes it."""
    return Query(
        user_id=ask.user_id,
        candidate_ids=ask.candidate_ids,
        history_ids=ask.history_ids,
        history_ratings=ask.history_ratings,
        top_k=ask.top_k or None,
    )


def _history(ask: Ask) -> list[tuple[int, float]]:
    return list(zip(ask.history_ids.tolist(), ask.history_ratings.tolist(), strict=True))


# What is needed of https://github.com/kserve/open-inference-protocol: name, number, type (a message
# by its name), whether it repeats.
_FIELDS: dict[str, list[tuple[str, int, str, bool]]] = {
    "Tensor": [
        ("name", 1, "STRING", False),
        ("datatype", 2, "STRING", False),
        ("shape", 3, "INT64", True),
    ],
    "ModelInferRequest": [
        ("model_name", 1, "STRING", False),
        ("inputs", 5, "Tensor", True),
        ("raw_input_contents", 7, "BYTES", True),
    ],
    "ModelInferResponse": [
        ("outputs", 5, "Tensor", True),
        ("raw_output_contents", 6, "BYTES", True),
    ],
}


def _message(name: str) -> Any:
    """The class of a message of the protocol."""
    return message_factory.GetMessageClass(_DESCRIPTORS.FindMessageTypeByName(f"kserve.{name}"))


def _descriptors() -> Any:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="kserve", package="kserve", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeats in fields:
            nested = kind in _FIELDS
            message.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED if repeats else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if nested else getattr(kinds, f"TYPE_{kind}"),
                type_name=f".kserve.{kind}" if nested else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_DESCRIPTORS = _descriptors()
