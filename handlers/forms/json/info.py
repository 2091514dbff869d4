"""The JSON form of what a server says of itself."""

from typing import Any

from google.protobuf.json_format import MessageToDict

from anirank.contract import ranking_pb2 as pb


def write_info(info: pb.ModelInfo) -> dict[str, Any]:
    """ModelInfo as an object, named as in the proto file."""
    told: dict[str, Any] = MessageToDict(
        info, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    told["likenesses"] = [name.removeprefix("LIKENESS_").lower() for name in told["likenesses"]]
    return told
