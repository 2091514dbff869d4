import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from anirank.errors import DeadlinePassed
from handlers.engine.query import Query
from handlers.facade.batching.queue import MOST_QUERIES, SMALL_IN_A_BATCH, Queue, Waiting

LARGEST_BATCH = 40
LARGE = LARGEST_BATCH // SMALL_IN_A_BATCH + 1

puts = st.tuples(st.just("put"), st.integers(1, 60), st.booleans(), st.sampled_from([None, 5]))
leaves = st.tuples(st.just("leave"), st.integers(0, 1_000))
takes = st.just(("take",))


def waiting(loop, candidates, patient=False, deadline=None):
    return Waiting(Query(), candidates, patient, 0.0, deadline, loop.create_future())


class Reckoning:
    """A queue, and a plain account of who waits in it."""

    def __init__(self, loop, places):
        self.loop, self.places = loop, places
        self.queue = Queue(places, LARGEST_BATCH)
        self.waits, self.taken = [], []
        self.last_was_large, self.passed_over = None, []

    def put(self, candidates, patient, deadline):
        entry = waiting(self.loop, candidates, patient, deadline)
        held = len(self.queue)
        if self.queue.put(entry):
            self.waits.append(entry)
            return
        assert not patient
        larges = sum(each.candidates >= LARGE and not each.patient for each in self.waits)
        quota = candidates >= LARGE and larges + self.places // 4 + 1 >= self.places // 2
        assert held == self.places or quota

    def leave(self, number):
        if self.waits:
            entry = self.waits.pop(number % len(self.waits))
            entry.answer.cancel()
            self.queue.remove(entry)

    def take(self, now):
        before = list(self.waits)
        batch = self.queue.take(now)
        late = [each for each in before if each.deadline is not None and now >= each.deadline]
        for entry in batch:
            self.waits.remove(entry)
            assert entry not in late
        for entry in late:
            if entry.answer.done():
                assert isinstance(entry.answer.exception(), DeadlinePassed)
                self.waits.remove(entry)
        if not batch:
            return
        sizes = [entry.candidates for entry in batch]
        assert len(batch) <= MOST_QUERIES
        assert len(batch) == 1 or sum(sizes) <= LARGEST_BATCH
        assert len({size >= LARGE for size in sizes}) == 1
        is_large = sizes[0] >= LARGE
        if self.last_was_large is is_large:  # not while someone of the other size has a place
            assert not [each for each in self.passed_over if each in before and each not in late]
        self.last_was_large = is_large
        self.passed_over = [
            each
            for each in self.waits
            if (each.candidates >= LARGE) is not is_large and not each.patient
        ]
        self.taken += batch


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(puts, puts, leaves, takes), max_size=120), st.integers(1, 12))
def test_nobody_is_lost_taken_twice_or_let_in_beyond_the_places(steps, places):
    loop = asyncio.new_event_loop()
    try:
        reckoning = Reckoning(loop, places)
        for now, (step, *arguments) in enumerate(steps):
            if step == "take":
                reckoning.take(now / 10)
            else:
                getattr(reckoning, step)(*arguments)
            assert len(reckoning.queue) <= places
            assert len(reckoning.queue) <= len(reckoning.waits)
        while reckoning.waits:
            reckoning.take(0.0)
        assert len(reckoning.queue) == 0
        assert len(set(map(id, reckoning.taken))) == len(reckoning.taken)
        # Empty again, it has room for as many as before.
        for _ in range(places):
            assert reckoning.queue.put(waiting(loop, 1))
        assert not reckoning.queue.put(waiting(loop, 1))
    finally:
        loop.close()


def test_a_caller_with_many_lets_others_in_between():
    loop = asyncio.new_event_loop()
    queue = Queue(64, LARGEST_BATCH)
    for caller, count, patient in (("hog", 12, False), ("stream", 40, True), ("other", 1, False)):
        for _ in range(count):
            entry = Waiting(Query(), LARGE, patient, 0.0, None, loop.create_future(), caller=caller)
            assert queue.put(entry)
    first = [each.caller for _ in range(6) for each in queue.take(0.0)]
    loop.close()
    assert first[:3] == ["hog", "stream", "other"]


def test_streams_take_turns_for_the_places_that_they_share():
    loop = asyncio.new_event_loop()
    queue = Queue(16, LARGEST_BATCH)  # four for streams
    for caller in ["first"] * 20 + ["second"]:
        assert queue.put(
            Waiting(Query(), LARGEST_BATCH, True, 0.0, None, loop.create_future(), caller=caller)
        )
    order = [each.caller for _ in range(6) for each in queue.take(0.0)]
    loop.close()
    assert order.index("second") <= 4
