"""The link behind the gateway: lost and back by word or by data, flapping farms, another session of the same login."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from alphatrader.core.market.link import COMPETING_FIRST_SECONDS, COMPETING_MOST_SECONDS, FARM_SECONDS, GRACE_SECONDS, Link


def connected(give_up_seconds: float = 60.0) -> Link:
    link = Link(give_up_seconds)
    link.connected()
    return link


def test_a_lost_link_is_back_by_word_or_by_data() -> None:
    link = connected()
    assert link.up
    link.lost(100.0)
    link.lost(130.0)  # said again: lost since the first word
    assert not link.up and not link.hopeless(159.0) and link.hopeless(160.0)
    link.back()
    assert link.up and not link.hopeless(1e9)
    # when data come with no word of it, then they prove it; what was under way when it broke proves nothing
    link.lost(200.0)
    assert not link.heard(200.0 + GRACE_SECONDS / 2) and not link.up
    assert not link.heard(None)
    assert link.heard(200.0 + 2 * GRACE_SECONDS) and link.up
    link.disconnected()
    assert not link.up and not link.hopeless(1e9)


def test_a_farm_that_flaps_is_not_told_and_one_that_stays_down_is() -> None:
    link = connected()
    for at in range(0, 40, 2):
        link.farm_broken("usfarm", at)
        assert link.farms_down(at + 1.0) == []
        assert link.farm_back("usfarm") and not link.farm_back("usfarm")
    link.farm_broken("usfarm", 100.0)
    link.farm_broken("usfarm", 103.0)
    assert link.farms_down(100.0 + FARM_SECONDS) == ["usfarm"]
    link.disconnected()
    assert link.farms_down(1e9) == []


def test_another_session_is_answered_once_and_tried_with_growing_pauses() -> None:
    link = connected()
    assert link.taken(10.0) and [link.taken(10.0) for _ in range(40)] == [False] * 40
    tries, at = [], 10.0
    while at < 2000.0:
        at += 0.5
        if link.take_retry(at):
            tries.append(at)
            assert not link.taken(at + 0.1), "the lines say it again: no news"
    pauses = [later - sooner for sooner, later in zip([10.0, *tries], tries, strict=False)]
    assert pauses[:3] == [COMPETING_FIRST_SECONDS, 2 * COMPETING_FIRST_SECONDS, 4 * COMPETING_FIRST_SECONDS]
    assert max(pauses) == COMPETING_MOST_SECONDS and pauses == sorted(pauses)
    # data end it, and the next time begins small
    assert link.competing and link.heard(at + 10.0) and not link.competing
    assert link.taken(3000.0) and link.take_retry(3000.0 + COMPETING_FIRST_SECONDS)


@given(st.lists(st.sampled_from(["lost", "back", "taken", "heard", "connected", "retry"]), max_size=60))
def test_whatever_is_said_the_tries_are_bounded_and_a_new_connection_begins_clean(said: list[str]) -> None:
    link, tries = connected(), 0
    for at, word in enumerate(said):
        match word:
            case "lost":
                link.lost(float(at))
            case "back":
                link.back()
            case "taken":
                link.taken(float(at))
            case "heard":
                link.heard(float(at))
            case "connected":
                link.connected()
                assert link.up and not link.competing
            case "retry":
                tries += link.take_retry(float(at))
    assert tries <= len(said) / COMPETING_FIRST_SECONDS + 1
