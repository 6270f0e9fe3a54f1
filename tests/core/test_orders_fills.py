"""Executions, each once: revisions, commissions before and after them, the journal, and what an order has filled."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from alphatrader.contract.messages.broker import CommissionNews
from alphatrader.contract.messages.orders import Fill
from alphatrader.core.orders.fills import FillBook
from alphatrader.core.positions.booking import newer
from tests.core.test_orders_book import execution

D = Decimal


def heard(exec_id: str = "a.01", quantity: int = 2, price: str = "4.00", commission: str | None = None) -> Fill:
    fill = FillBook().hear(execution(exec_id, quantity, price), None)
    assert fill is not None
    return replace(fill, commission=D(commission), commission_revision=fill.revision) if commission else fill


def test_an_older_or_equal_revision_is_no_news() -> None:
    book = FillBook()
    assert book.hear(execution("a.02", 1, "4.10"), D("4.00")) is not None
    assert book.hear(execution("a.02", 1, "4.10"), None) is None
    assert book.hear(execution("a.01", 2, "4.00"), None) is None
    assert [(f.quantity, f.reference_price) for f in book.by_key.values()] == [(1, D("4.00"))]


def test_a_commission_waits_for_its_execution_and_an_older_one_says_nothing() -> None:
    book = FillBook()
    assert book.hear_commission(CommissionNews("a.02", D("0.65"))) is None
    fill = book.hear(execution("a.02", 1, "4.00"), None)
    assert fill is not None and fill.commission == D("0.65")
    assert book.hear_commission(CommissionNews("a.01", D("1.30"))) is None
    assert book.hear_commission(CommissionNews("a.02", D("0.65"))) is None
    changed = book.hear_commission(CommissionNews("a.03", D("0.70")))
    assert changed is not None and book.by_key["a"].commission == D("0.70")


def test_a_correction_bears_the_older_commission_until_its_own_comes_over_a_restart_too() -> None:
    book = FillBook()
    book.hear(execution("a.01", 2, "4.00"), None)
    book.hear_commission(CommissionNews("a.01", D("1.30")))
    # given a correction before its own commission, and execution started anew between the two
    corrected = book.hear(execution("a.02", 1, "4.00"), None)
    assert corrected is not None and (corrected.commission, corrected.commission_revision) == (D("1.30"), 1)
    restarted = FillBook(book.by_key.values())
    assert restarted.hear_commission(CommissionNews("a.01", D("1.30"))) is None
    # then its own counts, smaller as it is, and from the journal as well
    last = restarted.hear_commission(CommissionNews("a.02", D("0.65")))
    assert last is not None and (last.commission, last.commission_revision) == (D("0.65"), 2)
    assert book.restore(last) and book.by_key["a"].commission == D("0.65")
    assert not restarted.restore(corrected)
    assert newer(corrected, last) == newer(last, corrected) == last


def test_the_journal_gives_what_was_lost_and_never_takes_back_what_is_known() -> None:
    book = FillBook([heard("a.02", 1, "4.10", "0.65")])
    version = book.version
    # what is older, the same, or knows less, is not taken
    assert not book.restore(heard("a.01", 2, "4.00", "1.30"))
    assert not book.restore(heard("a.02", 1, "4.10", "0.65"))
    assert not book.restore(heard("a.02", 1, "4.10"))
    assert book.version == version and book.by_key["a"].quantity == 1
    # what is newer, or unknown, is, and its commission with it
    assert book.restore(heard("a.03", 2, "4.05")) and book.restore(heard("b.01", 3, "4.00", "1.95"))
    assert book.filled("i-1") == (5, (2 * D("4.05") + 3 * D("4.00")) / 5)
    assert book.hear_commission(CommissionNews("b.01", D("9.99"))) is None
    # a commission alone is news, too
    later = FillBook([heard("a.01", 2, "4.00")])
    assert later.restore(heard("a.01", 2, "4.00", "1.30")) and later.by_key["a"].commission == D("1.30")


def test_what_an_order_has_filled_is_its_executions_in_their_last_revision() -> None:
    book = FillBook()
    assert book.filled("i-1") == (0, None)
    for exec_id, quantity, price in (("a.01", 2, "4.00"), ("b.01", 1, "4.30"), ("a.02", 1, "4.10")):
        book.hear(execution(exec_id, quantity, price), None)
    book.hear(execution("c.01", 5, "9.00", "i-2"), None)
    assert book.filled("i-1") == (2, D("4.20")) and book.net() == {7: 7}
    # a bust is a correction to nothing
    book.hear(execution("a.03", 0, "4.10"), None)
    assert book.filled("i-1") == (1, D("4.30")) and book.net() == {7: 6}
    # whoever folds a contract sees that it changed: once for what came, twice for what was put in its place
    assert book.version == 5 and book.contract_versions == {7: 7}
