import asyncio
import os

import pytest

from anirank.errors import BundleError, SignatureError
from bundles import signature
from handlers.facade.settings import Settings
from handlers.facade.versions.loader import Loader
from tests.bundles.test_signature import write_keys
from tests.handlers.facade.versions.test_reload import rewrite


@pytest.fixture
def signed(store, tmp_path):
    """A store of which every version is signed, and a function that signs."""
    private, public = write_keys(tmp_path, "ours")
    signature.sign_bundle(store / "toy" / "1", private)
    return public, lambda folder: signature.sign_bundle(folder, private)


def test_what_is_signed_but_older_than_allowed_is_refused(store, signed):
    public, sign = signed
    old = {"store": store, "name": "toy", "trust": (public,)}

    async def load(**settings):
        loader = Loader(Settings(**old, **settings))
        await (await loader.load("1", apart=False)).close()
        loader.close()

    asyncio.run(load(not_before="1"))
    with pytest.raises(BundleError, match=r"1: is older than 1\.1, which --not-before says"):
        asyncio.run(load(not_before="1.1"))
    with pytest.raises(SignatureError, match=r"was exported on 2024.*--max-age allows 30 days"):
        asyncio.run(load(max_age_days=30))
    asyncio.run(load(max_age_days=100_000))
    rewrite(store / "toy" / "1", lambda manifest: manifest.update(created="2024"))
    sign(store / "toy" / "1")
    with pytest.raises(BundleError, match="created is '2024', should be a time"):
        asyncio.run(load(max_age_days=100_000))


def test_what_is_changed_after_it_was_checked_changes_nothing_for_who_trusts_a_key(store, signed):
    public, _ = signed
    settings = Settings(store=store, name="toy", trust=(public,))

    async def ask():
        loader = Loader(settings)
        version = await loader.load("1", apart=False)
        arrays = version.bundle.histories.anime_id, version.bundle.catalogue.anime_id
        before = [array.tobytes() for array in arrays]
        for path in (store / "toy" / "1").rglob("*.npy"):
            with path.open("r+b") as file:  # in place, as who maps it sees
                file.seek(-8, os.SEEK_END)
                file.write(b"\xff" * 8)
        assert [array.tobytes() for array in arrays] == before
        await version.close()
        loader.close()

    asyncio.run(ask())


def test_an_unsigned_copy_is_not_taken_by_who_trusts_a_key(store, tmp_path):
    _, public = write_keys(tmp_path, "ours")

    async def load(**settings):
        loader = Loader(Settings(store=store, name="toy", copies=tmp_path / "copies", **settings))
        return loader, await loader.load("1", apart=False)

    async def both():
        first, version = await load()
        with pytest.raises(SignatureError, match="is not signed"):
            await load(trust=(public,))
        await version.close()
        first.close()

    asyncio.run(both())
