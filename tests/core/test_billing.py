"""Who has access, by known answers for each state of Stripe's and by any mixture of subscriptions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from alphatrader.contract.messages.billing import Price, Subscription
from alphatrader.core.billing import NO_ACCESS, access, may_charge, offers, standing, tier_of

PREMIUM = Price("price_p", "prod_p", "premium", 14900, True, True)
BASIC = Price("price_b", "prod_b", "basic", 4900, True, True)
SOLD: Any = {"premium": PREMIUM, "basic": BASIC}
USD: Any = {"premium": 149, "basic": 49}
START, END = 1_000_000, 3_600_000
GRACE = 7 * 86_400
MONTH = Subscription("sub_1", "cus_1", "telegram-7", 7, "active", (PREMIUM,), START, END, None, False)


def at(now_s: float, **changes: Any) -> tuple[str, str, int | None]:
    had = access(replace(MONTH, **changes), SOLD, now_s, GRACE)
    return had.tier, had.status, had.until_s


@pytest.mark.parametrize(
    ("changes", "now_s", "known"),
    [
        ({}, START, ("premium", "active", None)),
        ({"prices": (BASIC,)}, START, ("basic", "active", None)),
        ({"prices": (BASIC, PREMIUM)}, START, ("premium", "active", None)),
        ({"status": "trialing"}, START, ("premium", "trialing", None)),
        ({"ends_at_s": END}, END - 0.001, ("premium", "active", END)),
        ({"ends_at_s": END}, END, ("free", "ended", None)),
        ({"status": "past_due"}, START + GRACE - 1, ("premium", "past_due", START + GRACE)),
        ({"status": "past_due"}, START + GRACE, ("free", "past_due", None)),
        ({"status": "past_due", "ends_at_s": START + 10}, START, ("premium", "past_due", START + 10)),
        ({"status": "canceled"}, START, ("free", "canceled", None)),
        ({"status": "unpaid"}, START, ("free", "unpaid", None)),
        ({"status": "paused"}, START, ("free", "paused", None)),
        ({"status": "incomplete"}, START, ("free", "incomplete", None)),
        ({"status": "a status of next year"}, START, ("free", "a status of next year", None)),
        ({"collection_paused": True}, START, ("free", "paused", None)),
        ({"refunded_until_s": END}, START + 9, ("free", "refunded", None)),
        ({"refunded_until_s": START}, START + 9, ("premium", "active", None)),
        ({"disputed": True}, START, ("free", "disputed", None)),
        ({"prices": (Price("other", "prod_x", None, 900, True, True),)}, START, ("free", "unknown price", None)),
    ],
)
def test_each_state_by_a_known_answer(changes: dict[str, Any], now_s: float, known: tuple[str, str, int | None]) -> None:
    assert at(now_s, **changes) == known


def test_a_former_price_of_the_same_product_is_still_that_tier() -> None:
    former = replace(MONTH, prices=(Price("price_2024", "prod_b", None, 3900, True, False),))
    assert tier_of(former, SOLD) == "basic"
    one_product: Any = {"premium": replace(PREMIUM, product="prod"), "basic": replace(BASIC, product="prod")}
    assert tier_of(replace(MONTH, prices=(Price("price_2024", "prod", None, 3900, True, False),)), one_product) is None


def test_a_price_is_a_tiers_by_its_key_alone_or_by_its_id_alone() -> None:
    def of(price: Price, sold: Any = SOLD) -> str | None:
        return tier_of(replace(MONTH, prices=(price,)), sold)

    keyed = Price("price_of_2027", "prod_new", "premium", 19900, True, True)
    assert of(keyed) == of(keyed, {}) == "premium"  # whoever pays by it has it, though it is not sold at the shown price
    shared: Any = {"premium": replace(PREMIUM, product="prod"), "basic": replace(BASIC, product="prod", lookup_key=None)}
    assert of(shared["basic"], shared) == "basic"
    assert of(replace(shared["basic"], id="price_x"), shared) is None
    assert of(replace(BASIC, lookup_key=None), {"premium": PREMIUM}) is None
    # a price with another's key is none of a tier without one, whatever it costs
    assert list(offers([PREMIUM, replace(BASIC, lookup_key="gift")], USD)[0]) == ["premium"]


SUBSCRIPTIONS = st.builds(
    replace,
    st.just(MONTH),
    id=st.uuids().map(str),
    prices=st.sampled_from([(PREMIUM,), (BASIC,), ()]),
    status=st.sampled_from(["active", "trialing", "past_due", "canceled", "unpaid", "paused"]),
    ends_at_s=st.sampled_from([None, START + 100, END]),
    refunded_until_s=st.sampled_from([None, START, END]),
    disputed=st.booleans(),
)


@given(held=st.lists(SUBSCRIPTIONS, max_size=5), now_s=st.integers(START, END + 10), order=st.randoms())
def test_the_highest_counts_whatever_the_order(held: list[Subscription], now_s: int, order: Any) -> None:
    had = standing(held, SOLD, now_s, GRACE)
    shuffled = list(held)
    order.shuffle(shuffled)
    again = standing(shuffled, SOLD, now_s, GRACE)
    assert (again.tier, again.until_s) == (had.tier, had.until_s)
    singles = [access(one, SOLD, now_s, GRACE).tier for one in held]
    assert had.tier == ("premium" if "premium" in singles else "basic" if "basic" in singles else "free")
    assert had.until_s is None or now_s < had.until_s
    if had.until_s is not None:  # nothing changes before the end that it says
        assert standing(held, SOLD, had.until_s - 1, GRACE).tier == had.tier


@pytest.mark.parametrize(
    ("charged", "changes"),
    [
        (True, {}),
        (True, {"refunded_until_s": END}),
        (True, {"disputed": True}),
        (True, {"collection_paused": True}),
        (True, {"status": "unpaid"}),
        (True, {"status": "past_due", "ends_at_s": END}),
        (True, {"status": "a status of next year"}),
        (False, {"ends_at_s": END, "refunded_until_s": END}),
        (False, {"status": "canceled"}),
        (False, {"status": "incomplete"}),
        (False, {"status": "incomplete_expired"}),
    ],
)
def test_what_stripe_may_charge_for_again_does_not_hang_on_access(charged: bool, changes: dict[str, Any]) -> None:
    assert may_charge(replace(MONTH, **changes)) is charged


def test_without_subscriptions_there_is_none() -> None:
    assert standing([], SOLD, START, GRACE) == NO_ACCESS


def test_prices_are_found_by_lookup_key_else_by_amount() -> None:
    assert offers([PREMIUM, BASIC], USD) == (SOLD, [])
    plain = [replace(PREMIUM, lookup_key=None), replace(BASIC, lookup_key=None)]
    assert offers(plain, USD) == ({"premium": plain[0], "basic": plain[1]}, [])


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ([BASIC], "no monthly prices for premium"),
        ([BASIC, replace(PREMIUM, monthly=False)], "no monthly prices for premium"),
        ([BASIC, replace(PREMIUM, active=False)], "no monthly prices for premium"),
        ([BASIC, replace(PREMIUM, cents=19900)], "not the $149 of billing.premium_usd"),
        ([BASIC, replace(PREMIUM, cents=None)], "not the $149"),
        ([BASIC, *(replace(PREMIUM, lookup_key=None, id=f"p{n}") for n in range(2))], "2 monthly prices for premium"),
    ],
)
def test_what_is_not_sold_at_the_shown_price_is_not_sold(prices: list[Price], said: str) -> None:
    sold, wrong = offers(prices, USD)
    assert list(sold) == ["basic"] and len(wrong) == 1 and said in wrong[0]
