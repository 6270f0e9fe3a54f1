"""`alphatrader futures`: by the rules with the system down, by the broker with it up, and where they differ."""

from __future__ import annotations

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import FutureContract, FutureRoot
from alphatrader.contract.modules import Module
from tests.commands.conftest import Command
from tests.support.servers import free_port
from tests.web.desk import Desk


def nobody() -> dict[str, str]:
    """Settings under which no server answers."""
    return {"servers__data__port": str(free_port()), "servers__state__port": str(free_port())}


def test_it_works_by_the_rules_with_the_system_down(run: Command) -> None:
    down = nobody()
    answer = run("futures", "GC", "--on", "2026-11-24", "--json", **down)
    assert answer.code == 0, answer.err
    told = answer.json()
    assert (told["broker"], told["broker_missing"], told["on"]) == (False, "the system is down", "2026-11-24")
    gold = told["roots"]["GC"]
    assert gold["front_month"] == "202612" and gold["front_by"] == "hard rolls"
    assert gold["contracts"][1] == {
        "contract_month": "202612", "code": "GCZ6", "last_trading_day": "2026-12-29", "ends_at": "13:30",
        "first_notice_day": "2026-11-30", "hard_roll_day": "2026-11-25", "traded": True, "by": "rules",
    }  # fmt: skip
    # a day later it must be left, and the serial month is passed over
    later = run("futures", "gc", "--on", "2026-11-25", "--json", **down).json()
    assert later["roots"]["GC"]["front_month"] == "202702"
    table = run("futures", **down)
    assert table.code == 0 and "by the exchanges' rules" in table.out
    assert all(root in table.out for root in ("ES", "NQ", "RTY", "YM", "VX", "DX", "GC", "CL", "ZB"))


def test_with_the_system_up_the_brokers_dates_are_shown_and_a_difference_is_an_exit_code(desk: Desk, run: Command) -> None:
    # given what ibkr has learnt: another last day for December, and a roll by volume
    contracts = (
        FutureContract("202612", 1, "ESZ6", "20261217", "20261209"),
        FutureContract("202703", 2, "ESH7", "20270319", "20270311"),
    )
    told = "ES 202612: last trading day 2026-12-17 at the broker, 2026-12-18 by the rules"
    root = FutureRoot("ES", 1, "202703", "2026-11-17", "volume", contracts, (told,))
    desk.write(Module.IBKR, lambda b: b.put_field(k.FUTURES.at(), "ES", root))
    answer = run("futures", "ES", "--json")
    assert answer.code == 1
    found = answer.json()
    assert found["broker"] is True and found["differences"] == [told]
    december, march = found["roots"]["ES"]["contracts"][:2]
    assert (december["last_trading_day"], december["hard_roll_day"], december["by"]) == ("2026-12-17", "2026-12-09", "broker")
    assert march["by"] == "broker" and found["roots"]["ES"]["front_month"] == "202703"
    assert found["roots"]["ES"]["front_by"] == "volume, since 2026-11-17"
    # and on another day only the hard rolls can be known
    other = run("futures", "ES", "--on", "2026-12-01", "--json").json()
    assert (other["roots"]["ES"]["front_month"], other["roots"]["ES"]["front_by"]) == ("202612", "hard rolls")
    assert "DIFFERS" in run("futures", "ES").out
    assert run("futures", "CL", "--json").code == 0


def test_an_unknown_root_or_day_is_misuse(run: Command) -> None:
    down = nobody()
    for arguments, said in (
        (("XX",), "XX"),
        (("ES", "--on", "2026-13-01"), "--on: '2026-13-01' is no date"),
        (("ES", "--on", "1999-01-01"), "session table"),
    ):
        answer = run("futures", *arguments, **down)
        assert answer.code == 2 and said in answer.err and "Traceback" not in answer.err
