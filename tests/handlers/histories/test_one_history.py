"""What is recorded, shown and forgotten is the same by way of gRPC, HTTP, the clients and the
command line, and whichever store keeps it."""

import asyncio
import re
import sys
import uuid
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import grpc
import pytest
import redis
import requests
from google.protobuf.json_format import ParseDict

from anirank.cli.app import main
from anirank.client.aio import AsyncClient
from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import HistoriesOff, InvalidQuery
from handlers.histories.histories import Histories
from handlers.histories.opening import open_store

USER, NEW = 20, 7  # one whom the toy knows, one whom it does not
ITEMS = {3: 9.0, 33: None, 60: 1.5}


@pytest.fixture(params=["lmdb", "redis"])
def place(request, tmp_path):
    """Gives places of empty stores: what --histories is given."""
    if request.param == "lmdb":
        return lambda: str(tmp_path / uuid.uuid4().hex)
    server = request.getfixturevalue("redis_server")

    def emptied() -> str:
        with redis.Redis.from_url(server.url) as client:
            client.flushall()
        return str(server.url)

    return emptied


def by_grpc(address: str, do: str, *given: Any) -> Any:
    with grpc.insecure_channel(address) as channel:
        stub = RankingServiceStub(channel)
        if do == "record":
            user, items, name = given
            listed = [pb.HistoryItem(anime_id=a, rating=r) for a, r in items.items()]
            asked = pb.RecordWatchedRequest(user_id=user, items=listed, request_id=name)
            return stub.RecordWatched(asked)
        if do == "show":
            return stub.GetHistory(pb.GetHistoryRequest(user_id=given[0]))
        return stub.Forget(pb.ForgetRequest(user_id=given[0]))


def by_http(url: str, do: str, *given: Any) -> Any:
    """The replies' messages again, of the JSON."""
    asked: dict[str, Any] = {"user_id": given[0]}
    if do == "record":
        _, items, name = given
        listed = [{"anime_id": a, "rating": r} if r else {"anime_id": a} for a, r in items.items()]
        asked |= {"items": listed, "request_id": name}
    path, reply = {
        "record": ("record-watched", pb.RecordWatchedReply()),
        "show": ("get-history", pb.GetHistoryReply()),
        "forget": ("forget", pb.ForgetReply()),
    }[do]
    answer = requests.post(f"{url}/v1/{path}", json=asked, timeout=30)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    if do == "show":
        told["live_history"] = f"LIVE_HISTORY_{told['live_history'].upper()}"
    return ParseDict(told, reply)


def by_client(address: str, do: str, *given: Any) -> Any:
    with Client(address) as client:
        return _of(client, do)(*given)


def by_async_client(address: str, do: str, *given: Any) -> Any:
    async def ask() -> Any:
        async with AsyncClient(address) as client:
            return await _of(client, do)(*given)

    return asyncio.run(ask())


def by_command(address: str, do: str, *given: Any) -> Any:
    """The replies' messages again, of what the command prints."""
    arguments = [str(given[0])]
    if do == "record":
        _, items, name = given
        arguments += [",".join(f"{a}:{r}" if r else str(a) for a, r in items.items())]
        arguments += ["--request-id", name]
    said = commanded("histories", do, *arguments, "--address", address)
    if do == "record":
        [recorded] = re.findall(r": (\d+) anime recorded", said)
        repeated = "had been counted" in said
        return pb.RecordWatchedReply(recorded=int(recorded), repeated=repeated)
    if do == "forget":
        [removed] = re.findall(r"with (\d+) anime", said)
        return pb.ForgetReply(removed=int(removed))
    live, version = re.findall(r"live history: (\w+), model version (\w+)", said)[0]
    rows = re.findall(r"│ +(\d+) │ +([\d.]*) │ +(\S* ?\S*) │", said)
    items = [pb.KnownItem(anime_id=int(a), rating=float(r) if r else None) for a, r, _ in rows]
    for item, (_, _, at) in zip(items, rows, strict=True):
        if at.strip():
            item.recorded_at.FromJsonString(f"{at.replace(' ', 'T')}Z")
    named = f"LIVE_HISTORY_{live.upper()}"
    return pb.GetHistoryReply(items=items, live_history=named, model_version=version)


def commanded(*arguments: str) -> str:
    """What the command line prints, in this process: to start one for each takes seconds."""
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as printed,
    ):
        patch.setattr(sys, "argv", ["anirank", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return printed.getvalue()


def _of(client: Any, do: str) -> Callable[..., Any]:
    names = {"record": "record_watched", "show": "get_history", "forget": "forget"}
    method: Callable[..., Any] = getattr(client, names[do])
    return method


def without_times(reply: Any) -> Any:
    """A reply in which it stands only that there is a time of an item, and not which."""
    if isinstance(reply, pb.GetHistoryReply):
        for item in reply.items:
            if item.HasField("recorded_at"):
                assert item.recorded_at.seconds > 1_700_000_000
                item.recorded_at.Clear()
                item.recorded_at.SetInParent()
    return reply


def test_every_way_of_asking_has_the_same_answers(serve, world, place):
    steps = (
        ("show", USER),
        ("record", USER, ITEMS, "a"),
        ("record", USER, ITEMS, "a"),
        ("record", NEW, {3: None}, "a"),
        ("record", NEW, {3: 2.0, 6: 10.0}, "b"),
        ("show", USER),
        ("show", NEW),
        ("forget", USER),
        ("forget", USER),
        ("show", USER),
        ("record", USER, {9: 5.0}, "a"),
        ("show", USER),
        ("forget", USER),
        ("forget", NEW),
    )
    told: dict[str, list[Any]] = {}
    for way in (by_grpc, by_http, by_client, by_async_client, by_command):
        histories, urls = Histories(open_store(place(), 16)), list[str]()
        address = serve(histories=histories, http="127.0.0.1:0", http_started=urls.append)
        at = urls[0] if way is by_http else address
        told[way.__name__] = [without_times(way(at, *step)) for step in steps]
    for name, answers in told.items():
        assert answers == told["by_grpc"], name
    shown, first, again, _, other, after, of_new, gone, twice, empty, anew, since, *_ = told[
        "by_grpc"
    ]
    stored = [anime for anime, _ in world.histories[1]]
    assert [item.anime_id for item in shown.items] == stored
    assert (first.recorded, first.repeated) == (3, False)
    assert (again.recorded, again.repeated) == (3, True)
    assert other.recorded == 2
    assert [item.anime_id for item in after.items] == [
        *(a for a in stored if a not in ITEMS),
        *ITEMS,
    ]
    assert [item.rating for item in of_new.items] == [2.0, 10.0]
    assert (gone.removed, twice.removed, len(empty.items)) == (3, 0, 0)
    assert (anew.recorded, anew.repeated) == (1, False)
    assert [item.anime_id for item in since.items] == [9]


def test_what_is_recorded_over_http_counts_over_grpc_and_back(serve, tmp_path):
    histories, urls = Histories(open_store(str(tmp_path / "histories"), 1)), list[str]()
    address = serve(histories=histories, http="127.0.0.1:0", http_started=urls.append)
    asked = {"user_id": NEW, "items": [{"anime_id": 3, "rating": 9}, {"anime_id": 6}]}
    answer = requests.post(f"{urls[0]}/v1/record-watched", json=asked, timeout=30)
    assert answer.json() == {"recorded": 2, "repeated": False}
    with Client(address) as client:
        over_grpc = client.recommend(user_id=NEW, top_k=3)
        over_http = requests.post(
            f"{urls[0]}/v1/recommend", json={"user_id": NEW, "top_k": 3}, timeout=30
        ).json()
        assert over_http["live_history"] == "counted"
        assert over_grpc.live_history == pb.LIVE_HISTORY_COUNTED
        assert [each["anime_id"] for each in over_http["ranking"]] == [
            each.anime_id for each in over_grpc.ranking
        ]
        assert over_http["familiarity"] == "new_with_history"
        client.forget(NEW)
    after = requests.post(f"{urls[0]}/v1/recommend", json={"user_id": NEW}, timeout=30).json()
    assert after["familiarity"] == "new"


def test_what_is_wrong_over_http_has_its_paths(serve, tmp_path):
    histories, urls = Histories(open_store(str(tmp_path / "histories"), 1)), list[str]()
    serve(histories=histories, http="127.0.0.1:0", http_started=urls.append)
    wrong = {"user_id": -1, "items": [{"anime_id": 0}], "request_id": "x" * 129}
    answer = requests.post(f"{urls[0]}/v1/record-watched", json=wrong, timeout=30)
    assert answer.status_code == 400
    assert {each["path"] for each in answer.json()["errors"]} == {
        *("user_id", "items[0].anime_id", "request_id")
    }
    unknown = requests.post(f"{urls[0]}/v1/forget", json={"user_id": 1, "all": True}, timeout=30)
    assert unknown.json()["errors"][0]["path"] == "all"


def test_a_server_without_a_store_says_so(serve):
    urls: list[str] = []
    address = serve(http="127.0.0.1:0", http_started=urls.append)
    answer = requests.post(f"{urls[0]}/v1/forget", json={"user_id": 1}, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (400, "FAILED_PRECONDITION")
    assert "started without --histories" in answer.json()["detail"]
    with Client(address) as client:
        for ask in (
            lambda: client.record_watched(1, {3: 9}),
            lambda: client.get_history(1),
            lambda: client.forget(1),
        ):
            with pytest.raises(HistoriesOff, match="started without --histories"):
                ask()
        assert client.recommend(user_id=20).live_history == pb.LIVE_HISTORY_UNSPECIFIED


def test_what_is_wrong_with_what_is_to_be_recorded_is_all_said(serve, tmp_path):
    histories = Histories(open_store(str(tmp_path / "histories"), 1), most=4)
    with Client(serve(histories=histories)) as client:
        with pytest.raises(InvalidQuery) as caught:
            client.record_watched(-1, {0: 11, 2**31: None}, "x" * 129)
        assert [fault.field for fault in caught.value.faults] == [
            *("items[0].rating", "user_id", "items[0].anime_id", "items[1].anime_id", "request_id")
        ]
        with pytest.raises(InvalidQuery, match="items: 0 given, should be 1 to 2000"):
            client.record_watched(1, {})
        with pytest.raises(InvalidQuery, match="items: more than 2000 given, should be 1 to 2000"):
            client.record_watched(1, dict.fromkeys(range(1, 9_000)))
        with pytest.raises(InvalidQuery, match="user_id: none given"):
            client.forget(0)
        client.record_watched(1, {3: 9, 6: 1})
        with pytest.raises(InvalidQuery, match="3 more anime, and 2 are recorded"):
            client.record_watched(1, dict.fromkeys((6, 9, 12, 15)))
        assert [item.rating for item in client.get_history(1).items] == [9, 1]
