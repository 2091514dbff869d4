import asyncio
import subprocess
import sys
import time

import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from anirank.client.sync import Client
from bundles.graph import INPUTS, OUTPUTS
from handlers.facade.settings import Settings
from handlers.facade.versions.loader import Loader
from handlers.facade.versions.reload import Reloader
from handlers.facade.versions.roster import Roster
from tests.handlers.facade.versions.test_reload import relist
from tests.handlers.facade.versions.watching import come, errors_of, serves, soon
from tests.running.program import run_serve


def never_ending(folder):
    """A graph with the right inputs and outputs, whose loop has no end."""
    types = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT, "bool": TensorProto.BOOL}

    def ports(of):
        return [
            helper.make_tensor_value_info(name, types[port.type], [*port.shape])
            for name, port in of.items()
        ]

    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["before"], ["after"]),
        ],
        "body",
        [
            scalar("turn", TensorProto.INT64, []),
            scalar("go", TensorProto.BOOL, []),
            scalar("before", TensorProto.FLOAT, ["B", "N"]),
        ],
        [
            scalar("go_on", TensorProto.BOOL, []),
            scalar("after", TensorProto.FLOAT, ["B", "N"]),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["candidate_ids"], ["start"], to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", 9, [], [True])),
        helper.make_node("Loop", ["", "yes", "start"], ["rating"], body=body),
        helper.make_node("Identity", ["rating"], ["affinity"]),
        helper.make_node("Identity", ["rating"], ["wide"]),
        helper.make_node("Cast", ["rating"], ["known"], to=TensorProto.BOOL),
    ]
    graph = helper.make_graph(nodes, "never", ports(INPUTS), ports(OUTPUTS))
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), folder / "ranker.onnx")
    relist(folder, "ranker.onnx")
    (folder / "ranker-affinity.onnx").unlink()


def children():
    """The processes of this one; servers that other tests share are among them."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.mark.slow
def test_a_load_that_hangs_is_ended_and_the_next_version_is_served(store, caplog):
    async def follow():
        loader = Loader(Settings(store=store, name="toy"))
        hasty = Loader(Settings(store=store, name="toy", load_s=4))
        roster = Roster(await loader.load("1", apart=False))
        never_ending(come(store))
        before = children()
        assert not await Reloader(hasty, None).check(roster, patient=False)
        assert children() <= before
        come(store, "3")
        reloader = Reloader(loader, None)
        assert await reloader.check(roster, patient=False)
        assert serves("3")(roster)
        await reloader.close()
        await roster.close()

    asyncio.run(follow())
    assert errors_of(caplog) == [
        f"version 2 is refused, 1 serves on: {store / 'toy' / '2'}: is not loaded after 4 s"
    ]


@pytest.mark.slow
def test_sigterm_ends_a_facade_at_once_whatever_hangs(store):
    with run_serve(store, "--watch") as (process, address, _):
        never_ending(come(store))
        soon(lambda: psutil.Process(process.pid).children())
        [trying] = psutil.Process(process.pid).children()
        time.sleep(3)
        with Client(address) as client:
            assert client.model_info().version == "1"
        started = time.monotonic()
        process.terminate()
        assert process.wait(60) == 0
        assert time.monotonic() - started < 10
        assert not trying.is_running()


@pytest.mark.slow
def test_sigterm_ends_a_facade_that_hangs_at_its_start(store):
    never_ending(store / "toy" / "1")
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    command += ["--address", "127.0.0.1:0", "--engine", "onnxruntime"]
    with subprocess.Popen(command) as process:
        soon(lambda: psutil.Process(process.pid).cpu_times().user > 4)
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.slow
def test_a_start_that_hangs_ends_with_the_time_it_has(store):
    never_ending(store / "toy" / "1")
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store), "--name", "toy"]
    command += ["--address", "127.0.0.1:0", "--load-limit", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "1: is not loaded after 3 s" in done.stderr
