from handlers.facade.calls.unread import MOST, OF_A_CONNECTION, SMALL, Unread

MIB = 2**20


def test_what_nobody_reads_is_bounded_for_all_and_for_each_connection():
    unread = Unread()
    taken = [unread.take(f"ipv4:192.0.2.1:{number % 40}", MIB) for number in range(400)]
    assert sum(taken) == MOST // MIB
    unread = Unread()
    assert sum(unread.take("ipv4:192.0.2.1:7", MIB) for _ in range(400)) == OF_A_CONNECTION // MIB
    assert unread.take("ipv4:192.0.2.1:8", MIB)


def test_small_answers_always_find_room():
    unread = Unread()
    while unread.take("ipv4:192.0.2.1:7", MIB):
        pass
    assert all(unread.take("ipv4:192.0.2.1:7", SMALL) for _ in range(1_000))


def test_one_answer_may_be_larger_than_the_share():
    unread = Unread()
    assert unread.take("a", 2 * MOST)
    assert not unread.take("b", MIB)
    unread.give_back("a", 2 * MOST)
    assert unread.take("b", MIB)
