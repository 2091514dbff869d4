import pytest
import requests

from anirank.client.sync import Client
from anirank.client.tokens import read_tokens
from anirank.errors import (
    CredentialsError,
    Forbidden,
)
from handlers.histories.histories import Histories
from handlers.histories.opening import open_store
from handlers.security.access import Security
from tests.handlers.security.protected import OTHER, TOKEN, write_tokens
from tests.handlers.security.test_addresses import LOCAL, PUBLIC


def test_who_may_write_histories_is_said_by_their_token(serve, tmp_path):
    tokens = write_tokens(tmp_path / "tokens", TOKEN, f"{OTHER}  write-histories")
    histories = Histories(open_store(str(tmp_path / "histories"), 1))
    urls: list[str] = []
    address = serve(
        security=Security.from_files(tokens=tokens),
        histories=histories,
        http="127.0.0.1:0",
        http_started=urls.append,
    )
    for token, status in ((TOKEN, 403), (OTHER, 200), ("nobody's", 401)):
        answer = requests.post(
            f"{urls[0]}/v1/forget",
            json={"user_id": 8},
            headers={"authorization": f"Bearer {token}"},
            timeout=30,
        )
        assert answer.status_code == status
    with Client(address, token=TOKEN) as reader, Client(address, token=OTHER) as writer:
        writer.record_watched(7, {3: 9})
        assert len(reader.get_history(7).items) == 1
        for write in (lambda: reader.record_watched(7, {6: 9}), lambda: reader.forget(7)):
            with pytest.raises(Forbidden, match="has not the right write-histories"):
                write()
        write_tokens(tokens, f"{TOKEN} write-histories", OTHER)
        assert reader.record_watched(7, {6: 9}).recorded == 2
        with pytest.raises(Forbidden):
            writer.forget(7)


def test_without_tokens_those_on_this_machine_may_write_and_nobody_elsewhere() -> None:
    assert all(Security().writers(address)(()) for address in LOCAL)
    assert not any(Security().writers(address)(()) for address in PUBLIC)


def test_a_right_that_there_is_not_is_refused_without_a_word_of_what_stands_there(tmp_path) -> None:
    tokens = write_tokens(tmp_path / "tokens", f"{TOKEN} write-history")
    with pytest.raises(CredentialsError, match=r"line 1: .* may be write-histories") as caught:
        read_tokens(tokens)
    assert "write-history" not in str(caught.value)
    assert TOKEN not in str(caught.value)
