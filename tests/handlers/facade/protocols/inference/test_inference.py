"""The Open Inference Protocol, asked by Triton's own clients."""

import json
import subprocess
import sys
from typing import Any

import grpc
import numpy as np
import pytest
import requests

from bundles.graph import INPUTS, OUTPUTS
from handlers.engine.query import Limits
from handlers.facade.protocols.inference.contract import inference_pb2 as pb
from handlers.facade.protocols.inference.contract.inference_pb2_grpc import GRPCInferenceServiceStub

# In a program of its own, as callers have it; gevent, under its HTTP client, changes a process.
PROGRAM = """
import json, sys
import numpy as np
import tritonclient.{form} as triton

client = triton.InferenceServerClient(sys.argv[1])
inputs = []
for name, datatype, values in json.load(sys.stdin):
    kind = {{"INT64": np.int64, "FP32": np.float32}}[datatype]
    array = np.array(values, kind)
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array{how})
    inputs.append(tensor)
told = {{
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "model": [client.is_model_ready("toy"), client.is_model_ready("toy", "1")],
}}
for name, version in (("nothing", ""), ("toy", "7")):
    try:
        client.infer(name, inputs, model_version=version)
    except triton.InferenceServerException as error:
        told[name + version] = str(error)
metadata = client.get_model_metadata("toy"{as_json})
told["metadata"] = metadata
told["server"] = client.get_server_metadata({as_json_alone})
wanted = [triton.InferRequestedOutput(name{how}) for name in ("known", "affinity")]
for key, outputs in (("all", None), ("some", wanted)):
    result = client.infer("toy", inputs, outputs=outputs, request_id="mine")
    found = {{name: result.as_numpy(name) for name in ("rating", "affinity", "wide", "known")}}
    told[key] = {{name: each.tolist() for name, each in found.items() if each is not None}}
print(json.dumps(told))
"""
TENSORS = {
    "user_id": ("INT64", [10, 0]),
    "history_ids": ("INT64", [[3, 9], [6, 0]]),
    "history_ratings": ("FP32", [[9.0, float("nan")], [2.5, float("nan")]]),
    "profile": ("FP32", [[1.0, 2.5], [float("nan"), float("nan")]]),
    "candidate_ids": ("INT64", [[12, 15, 7], [3, 0, 10**15]]),
}


def asked_by_triton(form: str, address: str, binary: bool = True) -> dict[str, Any]:
    how = "" if form == "grpc" or binary else ", binary_data=False"
    text = PROGRAM.format(
        form=form,
        how=how,
        as_json=", as_json=True" if form == "grpc" else "",
        as_json_alone="as_json=True" if form == "grpc" else "",
    )
    tensors = [(name, *of) for name, of in TENSORS.items()]
    done = subprocess.run(
        [sys.executable, "-c", text, address],
        input=json.dumps(tensors),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "binary"), [("http", True), ("http", False), ("grpc", True)])
def test_tritons_own_client_gets_what_the_graph_answers(served, graph, form, binary) -> None:
    address = served.address if form == "grpc" else served.url.removeprefix("http://")
    if not binary:  # JSON has no name for what is no number, nor has Triton's client
        pytest.importorskip("tritonclient.http")
    told = asked_by_triton(form, address, binary) if binary else asked_in_json(served.url)
    inputs = {name: np.array(values, INPUTS[name].type) for name, (_, values) in TENSORS.items()}
    right = {name: each.tolist() for name, each in graph.run(inputs).items()}
    assert told["all"] == right
    assert told["some"] == {name: right[name] for name in ("known", "affinity")}
    if not binary:
        return
    assert (told["live"], told["ready"], told["model"]) == (True, True, [True, True])
    assert "model 'nothing' is not served" in told["nothing"]
    assert "'7' is not served" in told["toy7"]
    assert told["server"]["name"] == "anirank"
    metadata = told["metadata"]
    assert [each["name"] for each in metadata["inputs"]] == list(INPUTS)
    assert [each["name"] for each in metadata["outputs"]] == list(OUTPUTS)
    assert [int(each) for each in metadata["inputs"][3]["shape"]] == [-1, 2]


def asked_in_json(url: str) -> dict[str, Any]:
    """The same without the binary extension; null is no number."""
    inputs = []
    for name, (datatype, values) in TENSORS.items():
        array = np.array(values)
        data = [None if each != each else each for each in array.ravel().tolist()]
        tensor = {"name": name, "datatype": datatype, "shape": list(array.shape), "data": data}
        inputs.append(tensor)
    told = {}
    for key, outputs in (("all", []), ("some", [{"name": "known"}, {"name": "affinity"}])):
        answer = requests.post(
            f"{url}/v2/models/toy/infer", json={"inputs": inputs, "outputs": outputs}, timeout=30
        ).json()
        told[key] = {
            each["name"]: np.array(each["data"]).reshape(each["shape"]).tolist()
            for each in answer["outputs"]
        }
    return told


def tensor(name="candidate_ids", datatype="INT64", shape=(1, 2), data=(3, 6)) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": list(data)}


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([], "candidate_ids: is missing"),
        ([tensor("nothing")], "nothing: is not known"),
        ([tensor(datatype="FP32")], "candidate_ids: has datatype 'FP32', should be INT64"),
        ([tensor(shape=[2])], "candidate_ids: has shape [2], should be [B, N]"),
        ([tensor(shape=[1, 3])], "candidate_ids: has 2 values, should be 3"),
        ([tensor(shape=[-1, -2])], "candidate_ids: has shape [-1, -2]"),
        ([tensor(shape=[1, 2**62])], "candidate_ids: has shape"),
        ([tensor(shape=[65, 1], data=range(65))], "candidate_ids: 65 requests given"),
        ([tensor(shape=[1, 5], data=range(5))], "candidate_ids: 5 given, should be 1 to 4"),
        ([tensor(data=[1.5, 2])], "candidate_ids: 1.5 is not of INT64"),
        ([tensor(data=[2**70, 2])], "candidate_ids: has a number outside INT64"),
        ([tensor(), tensor()], "candidate_ids: is given twice"),
        ([tensor(), tensor("user_id", shape=[2])], "user_id: has shape [2], should be [1]"),
        (
            [tensor(), tensor("history_ratings", "FP32", data=[11, 1])],
            "history_ratings: 11.0 at [0, 0] is outside 1..10",
        ),
        ([tensor(), tensor("profile", "FP32", data=[7.5, 1])], "profile: [0, 0], gender: 7.5"),
        ([tensor(), tensor("profile", "FP32", [1, 1], [1])], "profile: has shape [1, 1]"),
    ],
)
def test_a_tensor_that_is_wrong_is_named_over_both(serve, inputs, said) -> None:
    urls: list[str] = []
    limits = Limits(candidates=4) if "5 given" in said else Limits()
    address = serve(http="127.0.0.1:0", http_started=urls.append, limits=limits)
    answer = requests.post(f"{urls[0]}/v2/models/toy/infer", json={"inputs": inputs}, timeout=30)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert said in answer.json()["error"]
    fields = {"INT64": "int64_contents", "FP32": "fp32_contents"}
    request = pb.ModelInferRequest(model_name="toy")
    for each in inputs:
        contents = {fields[each["datatype"]]: each["data"]}
        try:
            request.inputs.add(
                name=each["name"],
                datatype=each["datatype"],
                shape=each["shape"],
                contents=pb.InferTensorContents(**contents),
            )
        except (TypeError, ValueError):
            return  # no message can hold it
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as failed:
        GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in str(failed.value.details())


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({}, b"{"),
        ({}, b"[]"),
        ({}, b'{"inputs": 7}'),
        ({}, b'{"inputs": [{"name": 7}]}'),
        ({}, b'{"outputs": [{"name": "nothing"}], "inputs": []}'),
        ({}, b'{"id": 7}'),
        ({"inference-header-content-length": "9999"}, b"{}"),
        ({"inference-header-content-length": "-1"}, b"{}"),
        ({"inference-header-content-length": "2"}, b"{}left over"),
    ],
)
def test_a_call_that_is_none_is_refused_in_the_protocols_own_form(served, headers, content) -> None:
    url = f"{served.url}/v2/models/toy/infer"
    answer = requests.post(url, data=content, headers=headers, timeout=30)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


def test_bytes_that_are_no_message_are_refused(served) -> None:
    with grpc.insecure_channel(served.address) as channel:
        call: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as failed:
            call(b"\xff\xff", timeout=30)
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e%2fetc", "toy%00", "a" * 5_000])
def test_a_model_that_is_not_here_is_not_looked_for(served, name) -> None:
    for way in ("", "/ready", "/versions/9"):
        answer = requests.get(f"{served.url}/v2/models/{name}{way}", timeout=30)
        assert answer.status_code == 404
        assert list(answer.json()) == ["error"]
        assert len(answer.text) < 400
