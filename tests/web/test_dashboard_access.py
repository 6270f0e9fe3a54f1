"""Who gets in, and what the buttons do: over real HTTP, against the real process."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import requests
import websocket

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.risk import ControlRequest
from alphatrader.contract.modules import Module
from tests.web.desk import Desk
from tests.web.running import Dashboard, csrf


def requests_written(day: Desk) -> list[ControlRequest]:
    return list(reversed(day.store(Module.OPERATOR).latest(k.CONTROL.at(module=Module.DASHBOARD), 100)))


def open_socket(dashboard: Dashboard, **headers: str) -> websocket.WebSocket:
    address = dashboard.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    return websocket.create_connection(address, header=headers, timeout=5, suppress_origin="Origin" in headers)


def cookies(session: requests.Session) -> str:
    return "; ".join(f"{name}={value}" for name, value in session.cookies.items())


def test_an_anonymous_visitor_sees_health_and_nothing_else(day: Desk, dashboard: Dashboard) -> None:
    stranger = requests.Session()
    stranger.headers["X-CSRFToken"] = csrf(stranger, dashboard.url)
    before = len(requests_written(day))

    assert stranger.get(f"{dashboard.url}/healthz", timeout=5).json() == {"ok": True}
    assert stranger.get(f"{dashboard.url}/", timeout=5).url == f"{dashboard.url}/login"
    for path in ("/api/snapshot", "/api/candles/SPY"):
        assert stranger.get(dashboard.url + path, headers={"Accept": "application/json"}, timeout=5).status_code == 401
    for path in ("/control/halt", "/control/resume", "/control/flatten", "/login/again"):
        assert stranger.post(dashboard.url + path, headers={"Accept": "application/json"}, timeout=5).status_code == 401
    assert len(requests_written(day)) == before


def test_socket_io_refuses_strangers_and_pages_of_others(dashboard: Dashboard, operator: requests.Session) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException, match="401"):
        open_socket(dashboard)
    with pytest.raises(websocket.WebSocketBadStatusException, match="400"):
        open_socket(dashboard, Cookie=cookies(operator), Origin="http://evil.example")
    open_socket(dashboard, Cookie=cookies(operator), Origin=dashboard.url).close()


def test_a_foreign_host_name_is_refused(dashboard: Dashboard) -> None:
    assert requests.get(f"{dashboard.url}/login", headers={"Host": "evil.example"}, timeout=5).status_code == 400


def test_a_login_link_works_once(dashboard: Dashboard, link: Callable[[], str]) -> None:
    address = link()

    first, second = requests.get(address, timeout=5), requests.get(address, timeout=5)

    assert first.status_code == 200 and first.url == f"{dashboard.url}/"
    assert second.status_code == 403 and "used already" in second.text
    assert requests.get(f"{dashboard.url}/login?link=forged", timeout=5).status_code == 403


def test_every_answer_keeps_foreign_content_out(dashboard: Dashboard, operator: requests.Session) -> None:
    answer = operator.get(f"{dashboard.url}/", timeout=5)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert "https://" not in answer.text.replace("https://www.tradingview.com/", ""), (
        "only the charts' attribution points elsewhere"
    )


def test_halting_needs_the_token_and_is_one_click(day: Desk, dashboard: Dashboard, operator: requests.Session) -> None:
    before = len(requests_written(day))

    refused = operator.post(f"{dashboard.url}/control/halt", headers={"X-CSRFToken": ""}, timeout=5)
    assert refused.status_code == 400
    assert len(requests_written(day)) == before

    answers = [operator.post(f"{dashboard.url}/control/halt", data={"reason": "news"}, timeout=5) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 202], "asked often, it is never refused"
    written = requests_written(day)[before:]
    assert [(one.kind, one.by, one.reason) for one in written] == [("halt", "operator on the dashboard", "news")]
    assert {answer.json()["id"] for answer in answers} == {written[0].id}


def test_resuming_needs_a_fresh_login(day: Desk, dashboard: Dashboard, operator: requests.Session) -> None:
    time.sleep(1.05)  # until the login is older than web.fresh_seconds, one second here
    before = len(requests_written(day))

    stale = operator.post(f"{dashboard.url}/control/resume", timeout=5)
    assert stale.status_code == 403 and stale.json()["needs"] == "password"
    assert len(requests_written(day)) == before

    assert operator.post(f"{dashboard.url}/login/again", data={"password": "guess"}, timeout=5).status_code == 403
    assert operator.post(f"{dashboard.url}/login/again", data={"password": dashboard.password}, timeout=5).status_code == 200
    assert operator.post(f"{dashboard.url}/control/resume", timeout=5).status_code == 202
    assert [one.kind for one in requests_written(day)[before:]] == ["resume"]


def test_flatten_is_written_as_asked(day: Desk, dashboard: Dashboard, operator: requests.Session) -> None:
    assert operator.post(f"{dashboard.url}/control/flatten", timeout=5).status_code == 202
    assert requests_written(day)[-1].kind == "flatten"


def test_signing_out_ends_the_session_for_every_copy_of_its_cookie(dashboard: Dashboard, operator: requests.Session) -> None:
    copy = cookies(operator)
    operator.post(f"{dashboard.url}/logout", timeout=5)

    answer = requests.get(f"{dashboard.url}/api/snapshot", headers={"Cookie": copy, "Accept": "application/json"}, timeout=5)

    assert answer.status_code == 401


def test_guessing_the_password_is_slowed_down(dashboard: Dashboard) -> None:
    guesser = requests.Session()
    token = csrf(guesser, dashboard.url)

    def guess() -> int:
        return guesser.post(f"{dashboard.url}/login", data={"password": "x", "csrf_token": token}, timeout=5).status_code

    codes = [guess() for _ in range(6)]

    assert set(codes[:5]) == {403} and codes[5] == 429


def test_a_server_that_hangs_blocks_no_button(day: Desk, dashboard: Dashboard, operator: requests.Session) -> None:
    """Last in this file: for three seconds the state server answers nobody."""
    time.sleep(1.05)  # a halt asked for within the last second would be answered with that one
    day.store(Module.STATE).raw(Server.STATE, "CLIENT", "PAUSE", 3000, "ALL")
    began = time.monotonic()

    answer = operator.post(f"{dashboard.url}/control/halt", timeout=5)

    assert time.monotonic() - began < 2.5
    assert answer.status_code == 503 and "lease lapses" in answer.json()["error"]
    assert requests.get(f"{dashboard.url}/healthz", timeout=5).status_code in (200, 503)
    until = time.monotonic() + 5
    while operator.post(f"{dashboard.url}/control/halt", timeout=5).status_code != 202:
        assert time.monotonic() < until, "it did not recover"
