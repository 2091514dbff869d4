import asyncio
import contextlib

import pytest

from handlers.facade.calls.places import Call, Places, Turns, address_of


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:1234", "192.0.2.1"),
        ("ipv6:%5B2001:db8::7%5D:1234", "2001:db8::/64"),
        ("ipv6:%5B2001:db8::ffff:0:0:9%5D:80", "2001:db8:0:0::/64"),
        ("ipv6:%5B::1%5D:1234", "::/64"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1234", "fe80::/64"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:1234", "192.0.2.1"),
        ("unix:", ""),
    ],
)
def test_a_call_is_its_hosts_and_with_ipv6_its_sites(peer, address):
    assert address_of(peer) == address.replace("2001:db8:0:0::", "2001:db8::")


def call_of(address):
    return Call(f"ipv4:{address}:1234")


def waiting(places, address="a"):
    """A call that has a place and no message yet."""
    call = call_of(address)
    assert places.take(call) is None
    return call


def at_work(places, address="a"):
    call = waiting(places, address)
    places.arrived(call)
    return call


def test_the_oldest_that_sent_nothing_makes_room():
    places = Places(3)
    busy, oldest, later = at_work(places), waiting(places), waiting(places)
    waiting(places)
    assert (busy.cap, oldest.cap, later.cap) == (None, "places", None)
    assert len(places) == 3


def test_nobody_makes_room_whose_message_has_come():
    places = Places(2)
    at_work(places), at_work(places)
    assert places.take(call_of("b")) == "places"
    assert len(places) == 2


def test_one_address_has_no_more_than_its_share():
    places = Places(4, of_one_address=2)
    at_work(places), at_work(places)
    assert places.take(call_of("a")) == "address"
    waiting(places, "b")


def test_the_address_with_the_most_silent_calls_gives_one_up():
    places = Places(4)
    patient, *silent = waiting(places, "a"), *(waiting(places, "b") for _ in range(3))
    waiting(places, "c")
    assert patient.cap is None
    assert [call.cap for call in silent] == ["places", None, None]


def test_a_place_given_back_is_free_once():
    places = Places(2, of_one_address=1)
    call = at_work(places)
    for _ in range(2):
        places.give_back(call)
    assert len(places) == 0
    at_work(places)
    assert places.take(call_of("a")) == "address"


def test_who_makes_room_is_waited_for_no_longer():
    async def wait(places, call):
        async with asyncio.timeout(60) as call.deadline:
            waiting(places)
            await asyncio.Event().wait()

    places = Places(1)
    with pytest.raises(TimeoutError):
        asyncio.run(wait(places, waiting(places)))


def test_who_is_silent_for_too_long_is_ended():
    async def check():
        async def wait(places):
            call = Call("ipv4:192.0.2.1:1", asyncio.current_task())
            assert places.take(call) is None
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            return call

        places = Places(4, patience_s=0.2)
        answered = at_work(places)
        calls = await asyncio.gather(wait(places), wait(places))
        assert all(call.silent for call in calls)
        assert not answered.silent

    asyncio.run(check())


def test_calls_of_one_connection_take_turns_and_those_who_leave_hold_up_nobody():
    async def check():
        turns = Turns(2)
        await turns.take("a")
        await turns.take("a")
        waiting = [asyncio.create_task(turns.take("a")) for _ in range(3)]
        await asyncio.wait_for(turns.take("b"), 10)  # another connection's are its own
        await asyncio.sleep(0)
        waiting[0].cancel()
        turns.give_back("a")
        await asyncio.wait_for(waiting[1], 10)
        assert not waiting[2].done()
        turns.give_back("a")
        waiting[2].cancel()  # the turn that it was just given goes on
        await asyncio.wait(waiting)
        await asyncio.wait_for(turns.take("a"), 10)
        for peer in "aab":
            turns.give_back(peer)
        assert not turns._taken
        assert not turns._waiting

    asyncio.run(check())
