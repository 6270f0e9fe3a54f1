"""What each tier is told, when, in which words; what becomes of a try; who is told."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.distribution import Delivery, TelegramTier
from alphatrader.contract.messages.positions import PositionEvent
from alphatrader.contract.settings.people import Distribution, Vendors
from alphatrader.core.distribution import ledger, standing, tiers, wording
from alphatrader.core.distribution.ledger import Outcome
from alphatrader.core.distribution.recipients import telegram_recipients
from alphatrader.sandbox.vendors.discord import refusals
from tests.support.people import MONDAY_TEN_NS, NS, a_position, a_signal, a_trade, closed, opened

RULES = Distribution()
VENDORS = Vendors(telegram_public_channel="-1001", telegram_basic_channel="-1002", telegram_premium_channel="-1003")


def by_tier(deliveries: tuple[Delivery, ...]) -> dict[str, Delivery]:
    return {delivery.tier: delivery for delivery in deliveries}


def shown(delivery: Delivery) -> str:
    return wording.telegram_text(delivery)


# -- tiers

WHEN = {"Strategy": "0DTE", "Signal of": "10:00:00 New York"}
TERMS = {"Entry": "$4.05 limit", "Stop": "$3.25", "Confidence": "86 of 100, not yet calibrated"}


def test_the_words_of_a_signal_to_each_tier():
    call, put = a_signal(), a_signal(direction="long_put", quantity=1, targets=(), calibrated=True)
    put = replace(put, contract=replace(put.contract, right="P", strike=655.5, expiry="20270108"))
    told, less = by_tier(tiers.of_signal(call, 1, RULES)), by_tier(tiers.of_signal(put, 1, RULES))

    assert told["premium"].fields == {
        "Contract": "SPY 23 Nov 2026 660 call",
        **TERMS,
        "Targets": "$4.85, $5.65, $6.45",
        "Our size": "2 contracts at most",
        "Underlying": "$661.20",
        **WHEN,
    }
    assert told["basic"].fields == {"Contract": "SPY 23 Nov 2026 660 call", **TERMS, **WHEN}
    assert told["free"].fields == {"Symbol": "SPY", "Direction": "long call", **WHEN}
    assert (told["premium"].lines, told["basic"].lines) == (call.reasons, ())
    assert less["premium"].fields["Our size"] == "1 contract at most" and less["premium"].fields["Targets"] == "none"
    assert less["basic"].title == "SPY: buy the 655.5 put (0DTE)" and less["free"].fields["Direction"] == "long put"
    assert less["basic"].fields["Contract"] == "SPY 8 Jan 2027 655.5 put"
    assert less["basic"].fields["Confidence"] == "86 of 100"


@pytest.mark.parametrize(("result", "shown_as"), [("-123.45", "-$123.45"), ("0", "+$0.00"), ("1200", "+$1,200.00")])
def test_the_words_of_a_position_to_each_tier(result, shown_as):
    signal = a_signal()
    contract, at = {"Contract": "SPY 23 Nov 2026 660 call"}, {"Strategy": "0DTE", "At": "10:00:00 New York"}
    begun = by_tier(tiers.of_position(opened(signal), RULES))
    over = by_tier(tiers.of_position(closed(signal, result, MONDAY_TEN_NS), RULES))
    bare = replace(opened(signal), position=a_position(signal, stop=None), reason="what opens has none")

    assert begun["premium"].fields == contract | {"Bought": "2 at $4.05 on average", "Stop": "$3.25"} | at
    assert begun["basic"] == replace(begun["premium"], id=begun["basic"].id, tier="basic", due_ns=begun["basic"].due_ns)
    assert over["basic"].fields == contract | {"Result": f"{shown_as} after commissions, of 2 bought at $4.05"} | at
    assert over["basic"].title == over["premium"].title == f"SPY: position closed, {shown_as}"
    assert (over["premium"].lines, over["basic"].lines) == (("exit",), ()), "why it was closed is premium's"
    event = closed(signal, result, MONDAY_TEN_NS)
    early = by_tier(tiers.of_position(replace(event, position=replace(event.position, commissions_known=False)), RULES))
    said = f"{shown_as} before commissions that the broker has not reported yet, of 2 bought at $4.05"
    assert early["premium"].fields["Result"] == early["basic"].fields["Result"] == said
    for one in tiers.of_position(bare, RULES):
        assert one.lines == () and one.fields["Stop"] == "not known"


def test_the_form_of_a_message_on_each_vendor():
    told = by_tier(tiers.of_signal(a_signal(), 1, RULES))["basic"]
    embed, late = wording.discord_embed(told), wording.discord_embed(told, "LATE by 7 min")

    assert {field["name"]: field["value"] for field in embed["fields"]} == dict(told.fields)
    assert [field["name"] for field in embed["fields"] if not field["inline"]] == ["Confidence"]
    assert (embed["title"], embed["description"]) == (told.title, "")
    assert (late["title"], late["description"]) == (f"Late: {told.title}", "LATE by 7 min")
    assert late["color"] != embed["color"]
    assert wording.telegram_text(told).startswith(f"{told.title}\nContract: SPY 23 Nov 2026 660 call\n")
    assert wording.telegram_text(told, "LATE by 7 min").startswith(f"Late: {told.title}\nLATE by 7 min\nContract: ")


def test_each_tier_is_due_its_delay_after_the_signal_to_the_nanosecond():
    told = by_tier(tiers.of_signal(a_signal(ts_ns=MONDAY_TEN_NS + 7), 1, RULES))

    assert {tier: one.due_ns - MONDAY_TEN_NS - 7 for tier, one in told.items()} == {
        "premium": 0,
        "basic": 60 * NS,
        "free": 300 * NS,
    }
    assert all(one.created_ns == MONDAY_TEN_NS + 7 for one in told.values())


def test_premium_sees_everything_basic_no_targets_or_reasons_free_only_a_teaser():
    signal = a_signal()
    told = by_tier(tiers.of_signal(signal, 1, RULES))

    for secret in ("$4.05", "$3.25", "4.85", "86 of 100", "660 call", "order flow toxicity"):
        assert secret in shown(told["premium"]), secret
    for known in ("$4.05", "$3.25", "86 of 100, not yet calibrated", "660 call"):
        assert known in shown(told["basic"]), known
    for hidden in ("4.85", "5.65", "toxicity", "gamma", "661.20"):
        assert hidden not in shown(told["basic"]), hidden
    assert "long call" in shown(told["free"]) and "0DTE" in shown(told["free"])
    for hidden in ("4.05", "3.25", "660", "86", "toxicity"):
        assert hidden not in shown(told["free"]).replace(signal.id, ""), hidden


def test_only_the_first_signals_of_a_session_reach_the_free_tier():
    reached = [len(tiers.of_signal(a_signal(n), n, RULES)) for n in range(1, 6)]

    assert reached == [3, 3, 3, 2, 2]
    assert [one.tier for one in tiers.of_signal(a_signal(), 1, replace(RULES, free_per_day=0))] == ["premium", "basic"]


def test_a_position_is_told_to_those_who_pay_and_only_when_a_signal_of_ours_opened_it():
    signal = a_signal()
    told = by_tier(tiers.of_position(closed(signal, "-123.45", MONDAY_TEN_NS + NS), RULES))

    assert set(told) == {"premium", "basic"}
    assert told["basic"].due_ns == MONDAY_TEN_NS + 61 * NS
    assert "-$123.45" in shown(told["basic"]) and "exit" in shown(told["premium"])
    assert [one.id for one in tiers.of_position(opened(signal), RULES)] == [
        f"{signal.id}:opened:{t}" for t in ("premium", "basic")
    ]
    external = a_position(signal, id="ext-501", signal_id=None, status="external")
    assert tiers.of_position(PositionEvent("opened", external, MONDAY_TEN_NS), RULES) == ()
    assert tiers.of_position(PositionEvent("changed", a_position(signal), MONDAY_TEN_NS), RULES) == ()


# -- wording


def all_deliveries() -> list[Delivery]:
    signal = a_signal()
    return [*tiers.of_signal(signal, 1, RULES), *tiers.of_position(opened(signal), RULES)]


@pytest.mark.parametrize("late", [None, "LATE by 20 min"])
def test_every_message_carries_the_signals_id_and_the_disclaimer(late):
    for delivery in all_deliveries():
        embed = wording.discord_embed(delivery, late)
        for text in (embed["footer"]["text"], wording.telegram_text(delivery, late).splitlines()[-1]):
            assert delivery.about in text and RULES.disclaimer in text
        assert (late or "") in embed["description"] and (late or "") in wording.telegram_text(delivery, late)


def test_no_text_however_long_breaks_a_vendors_limit():
    rng = random.Random(7)
    for _ in range(200):
        long = [rng.choice("aé 漢😀\n") * rng.choice((0, 1, 255, 1025, 4097)) for _ in range(30)]
        delivery = replace(
            all_deliveries()[0],
            title=long[0],
            lines=tuple(long[1:20]),
            fields={f"{n}{text[:300]}": text for n, text in enumerate(long)},
        )
        embed = wording.discord_embed(delivery, long[-1] or None)
        assert refusals({"embeds": [embed]}, whole=True) == {}
        text = wording.telegram_text(delivery, long[-1] or None)
        assert len(text) <= 4096 and text.endswith(RULES.disclaimer) and delivery.about in text


def test_a_late_message_says_by_how_much_and_of_when():
    delivery = by_tier(tiers.of_signal(a_signal(), 1, RULES))["basic"]

    assert wording.late_line(delivery, delivery.due_ns + 1200 * NS).startswith("LATE by 20 min: this tells of 10:00:00 New York")


def test_a_tweet_fits_and_is_no_advice():
    for trade in (
        a_trade(a_signal(), "187.40", MONDAY_TEN_NS),
        a_trade(a_signal(id="sig-" + "f" * 40), "1234567.89", MONDAY_TEN_NS, strategy="14DTE"),
    ):
        text = wording.tweet_text(trade, RULES.disclaimer)
        assert wording.weighted_length(text) <= 280
        assert trade.position_id in text and "not investment advice" in text.lower()
    assert "+$187.40 (+23.1%)" in wording.tweet_text(a_trade(a_signal(), "187.40", MONDAY_TEN_NS), RULES.disclaimer)


# -- the ledger


def claimed(**more):
    return replace(ledger.claim(all_deliveries()[0], "discord:premium", MONDAY_TEN_NS, 1000 * NS, None), **more)


def after(outcome: Outcome, record=None, *, late: bool = False, now_ns: int = MONDAY_TEN_NS, most: int = 6):
    return ledger.after(record or claimed(), outcome, now_ns, 1001 * NS, most, late=late)


@pytest.mark.parametrize(
    ("outcome", "state", "again"),
    [
        (Outcome("sent", "42"), "sent", False),
        (Outcome("unknown", reason="ReadTimeout"), "unknown", False),
        (Outcome("refused", reason="HTTP 404"), "failed", False),
        (Outcome("limited", reason="429", wait_seconds=17.0), "failed", True),
        (Outcome("unreachable", reason="refused"), "failed", True),
    ],
)
def test_how_a_try_ends_decides_whether_there_is_another(outcome, state, again):
    record = after(outcome)

    assert record.state == state and (record.retry_machine_ns is not None) == again
    assert after(outcome, claimed(attempts=2)).attempts == (2 if outcome.kind == "unreachable" else 3)
    assert ledger.step(record, 1001 * NS) == ("wait" if again else "ended")
    assert ledger.step(record, 10_000 * NS) == ("retry" if again else "ended")


def test_the_vendors_wait_is_kept():
    assert after(Outcome("limited", wait_seconds=17.0)).retry_machine_ns == 1018 * NS


def test_each_try_waits_three_times_as_long_as_the_one_before_up_to_five_minutes():
    record, waits = claimed(), []
    for _ in range(6):
        record = after(Outcome("limited", wait_seconds=2.0), record, most=99)
        waits.append((record.retry_machine_ns - 1001 * NS) / NS)
    assert waits == [5, 15, 45, 135, 300, 300]
    # and not a nanosecond less
    assert [ledger.step(record, record.retry_machine_ns - one) for one in (1, 0)] == ["wait", "retry"]
    # a vendor that could not be reached is asked again soon, however often
    assert after(Outcome("unreachable"), claimed(attempts=0)).retry_machine_ns == 1006 * NS


def test_answered_tries_are_bounded_and_an_absent_vendor_is_waited_for_a_day():
    record, tries = claimed(), 0
    while record.state == "sending" or record.retry_machine_ns is not None:
        record, tries = after(Outcome("limited"), record, most=6), tries + 1
    assert tries == 6

    hour = MONDAY_TEN_NS + 3600 * NS
    assert after(Outcome("unreachable"), claimed(attempts=5), now_ns=hour).retry_machine_ns is not None
    day = claimed().due_ns + 24 * 3600 * NS
    assert after(Outcome("unreachable"), now_ns=day).retry_machine_ns is not None
    assert after(Outcome("unreachable"), now_ns=day + 1).retry_machine_ns is None


def test_a_claim_is_waited_for_a_minute_then_its_worker_is_dead():
    assert ledger.step(None, 0) == "claim"
    assert ledger.step(claimed(), 1060 * NS) == "wait"
    assert ledger.step(claimed(), 1061 * NS) == "stale"
    assert ledger.step(ledger.abandoned(claimed(), MONDAY_TEN_NS, 1061 * NS), 10**30) == "ended"


# -- who


def told(delivery: Delivery, users: dict, already: set = frozenset(), waiting: tuple = ()) -> list[str]:
    return telegram_recipients(delivery, VENDORS, users, lambda one, who: (one, who) in already, waiting)


def test_a_tier_ends_on_its_second_whoever_has_recorded_it():
    held = TelegramTier("premium", "telegram-1", 0, until_s=1_000)
    assert held.held_at(1_000 * NS - 1) == "premium"
    assert held.held_at(1_000 * NS) == "free"
    assert TelegramTier("basic", None, 0).held_at(10**20) == "basic"


def test_each_tier_tells_its_channel_and_its_users_free_only_the_channel():
    deliveries = by_tier(tiers.of_signal(a_signal(), 1, RULES))
    users = {"1": "premium", "2": "basic", "3": "free"}
    above = deliveries["premium"].id

    assert told(deliveries["premium"], users) == ["telegram:-1003", "telegram:1"]
    assert told(deliveries["basic"], users, {(above, "telegram:1")}) == ["telegram:-1002", "telegram:2"]
    assert told(deliveries["free"], users) == ["telegram:-1001"]


def test_who_changes_tier_between_the_messages_is_told_exactly_once():
    deliveries = by_tier(tiers.of_signal(a_signal(), 1, RULES))
    above = deliveries["premium"].id

    assert "telegram:1" in told(deliveries["basic"], {"1": "premium"})  # was basic when premium was told
    assert "telegram:1" not in told(deliveries["basic"], {"1": "premium"}, waiting=(above,))  # premium is still on its way
    assert "telegram:1" not in told(deliveries["basic"], {"1": "basic"}, {(above, "telegram:1")})  # was premium


def test_a_basic_user_learns_of_a_position_no_earlier_than_basic_is_told():
    position = a_position(a_signal())
    gone = a_position(a_signal(2), closed_ns=MONDAY_TEN_NS + 30 * NS, realized=Decimal(1))

    def seen(tier, seconds):
        return standing.open_positions([position, gone], tier, MONDAY_TEN_NS + seconds * NS, RULES)

    assert [seen("premium", s) for s in (0, 29, 30)] == [2, 2, 1]
    assert [seen("basic", s) for s in (59, 60, 89, 90)] == [0, 2, 2, 1]
    assert seen("free", 600) is None
