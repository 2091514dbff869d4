"""The protocol over gRPC: `inference.GRPCInferenceService`."""

from collections.abc import Callable
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from anirank.errors import InvalidQuery, ServingError
from bundles.graph import OUTPUTS, Outputs
from handlers.facade.calls.unread import SMALL
from handlers.facade.protocols.inference.answering import METHOD, Asked, Inference, NotServed
from handlers.facade.protocols.inference.contract import inference_pb2 as pb
from handlers.facade.status import Context, abort, when_over
from handlers.forms.open_inference import DATATYPES, Given, bytes_of

_SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
# The field of a tensor's contents that has the values of a datatype.
_CONTENTS = {"INT64": "int64_contents", "FP32": "fp32_contents", "BOOL": "bool_contents"}


class OverGrpc:
    """Takes messages as bytes, so that bytes that are no message have an error of their own."""

    def __init__(self, inference: Inference) -> None:
        """Answer with `inference`."""
        self._inference = inference

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server is given to answer the service's methods."""
        answers: dict[str, Callable[[Any, Context], Any]] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server,
            "ModelMetadata": self._model,
            METHOD: self._infer,
        }
        return grpc.method_handlers_generic_handler(
            _SERVICE.full_name,
            {
                name: grpc.unary_unary_rpc_method_handler(_answering(name, answer))
                for name, answer in answers.items()
            },
        )

    async def _live(self, _: Any, __: Context) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, _: Any, __: Context) -> Any:
        return pb.ServerReadyResponse(ready=self._inference.ready())

    async def _model_ready(self, asked: Any, _: Context) -> Any:
        return pb.ModelReadyResponse(ready=self._inference.model_ready(asked.name, asked.version))

    async def _server(self, _: Any, __: Context) -> Any:
        return pb.ServerMetadataResponse(**self._inference.server())

    async def _model(self, asked: Any, _: Context) -> Any:
        return pb.ModelMetadataResponse(**self._inference.model(asked.name, asked.version))

    async def _infer(self, request: Any, context: Context) -> Any:
        def write(version: str, outputs: Outputs) -> bytes:
            reply = pb.ModelInferResponse(
                model_name=request.model_name,
                model_version=version,
                id=request.id,
                outputs=[
                    pb.ModelInferResponse.InferOutputTensor(
                        name=name, datatype=DATATYPES[OUTPUTS[name].type], shape=array.shape
                    )
                    for name, array in outputs.items()
                ],
                raw_output_contents=[bytes_of(array) for array in outputs.values()],
            )
            return bytes(reply.SerializeToString())

        wanted = [each.name for each in request.outputs]
        asked = Asked(request.model_version, _tensors(request), wanted, write)
        outcome = await self._inference.infer(
            request.model_name, asked, context, context.time_remaining()
        )
        if isinstance(outcome, ServingError):
            return await abort(context, outcome)
        if len(outcome) > SMALL:
            when_over(context, lambda: self._inference.read(context, outcome))
        return outcome


def _answering(name: str, answer: Callable[[Any, Context], Any]) -> Any:
    kind = getattr(pb, _SERVICE.methods_by_name[name].input_type.name)

    async def behaviour(body: bytes, context: Context) -> bytes:
        try:
            reply = await answer(kind.FromString(body), context)
            return reply if isinstance(reply, bytes) else bytes(reply.SerializeToString())
        except DecodeError:
            failure = InvalidQuery("request", f"is not a {kind.DESCRIPTOR.full_name}")
        except InvalidQuery as error:
            failure = error
        except NotServed as error:
            told = str(error)
            return await _not_found(context, told)
        return await abort(context, failure)

    return behaviour


async def _not_found(context: Context, told: str) -> NoReturn:
    await context.abort(grpc.StatusCode.NOT_FOUND, told)
    raise AssertionError("abort raises")


def _tensors(request: Any) -> dict[str, Given]:
    raw, found = list(request.raw_input_contents), dict[str, Given]()
    if raw and len(raw) != len(request.inputs):
        raise InvalidQuery(
            "raw_input_contents", f"{len(raw)} given, should be {len(request.inputs)} or none"
        )
    for place, tensor in enumerate(request.inputs):
        if tensor.name in found:
            raise InvalidQuery(tensor.name[:100], "is given twice")
        if raw:
            data: Any = raw[place]
        else:
            contents = _CONTENTS.get(tensor.datatype)
            data = [] if contents is None else list(getattr(tensor.contents, contents))
        found[tensor.name] = Given(tensor.datatype, list(tensor.shape), data)
    return found
