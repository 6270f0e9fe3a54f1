"""News sentiment: weighted by relevance, halved every six hours."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from alphatrader.core.sentiment import HALF_LIFE_NS, MOST_ITEMS, sentiment

NOW = 10**18


@dataclass(frozen=True)
class Story:
    age_half_lives: float
    score: float
    relevance: float
    title: str = "story"
    url: str = ""

    @property
    def published_ns(self) -> int:
        return NOW - int(self.age_half_lives * HALF_LIFE_NS)


def test_the_score_is_the_mean_by_relevance_and_age() -> None:
    found = sentiment("SPY", [Story(0, 0.6, 0.5), Story(1, -0.4, 1.0), Story(0, -1.0, 0.05)], NOW)
    # the second weighs 1.0 halved once, the third is irrelevant
    assert found.n == 2
    assert found.score == pytest.approx((0.5 * 0.6 + 0.5 * -0.4) / 1.0)


def test_no_relevant_story_is_no_score_and_not_zero() -> None:
    assert sentiment("SPY", [], NOW).score is None
    assert sentiment("SPY", [Story(0, 0.5, 0.09)], NOW).score is None


def test_a_story_from_the_future_does_not_count() -> None:
    assert sentiment("SPY", [Story(-1, 0.5, 0.9)], NOW).n == 0


def test_only_the_weightiest_are_listed_but_all_count() -> None:
    found = sentiment("SPY", [Story(i / 100, 0.1, 0.5) for i in range(MOST_ITEMS + 10)], NOW)
    assert (found.n, len(found.items)) == (MOST_ITEMS + 10, MOST_ITEMS)
    assert found.items[0].weight == max(item.weight for item in found.items)


def test_an_article_that_came_twice_counts_once() -> None:
    # given one article under one address in two versions, and another without an address
    twice = [Story(0, 0.1, 0.5, url="https://a/1"), Story(0, 0.6, 0.5, title="story (updated)", url="https://a/1")]
    found = sentiment("SPY", [*twice, Story(0, -0.2, 0.5)], NOW)
    assert found.n == 2 and found.score == pytest.approx(0.2)
    assert {item.url for item in found.items} == {"https://a/1", ""}
