"""What a visitor sees, what the browser is told, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from itsdangerous import URLSafeTimedSerializer

from alphatrader.contract import keys as k
from alphatrader.contract.messages.distribution import Analysis
from alphatrader.contract.modules import Module
from tests.web.running_pages import Pages, running_pages, wait_for


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with running_pages(tmp_path_factory.mktemp("shown"), billing__poll_seconds="3600") as running:
        wait_for("the first poll", lambda: running.health().state == "ready")
        yield running


def get(pages: Pages, path: str, **more: str) -> requests.Response:
    return requests.get(f"{pages.url}{path}", params=more, timeout=10)


def test_the_plans_state_prices_delays_and_the_risk(pages: Pages) -> None:
    page = get(pages, "/").text
    for said in ("$149", "$49", "$0", "60 seconds after premium", "5 minutes after premium", "At most 3 signals a day"):
        assert said in page
    assert "Sandbox: no real payment" in page


def test_every_page_ends_with_the_disclaimer_and_lets_nothing_foreign_in(pages: Pages) -> None:
    user = next(pages.users)
    for path in (
        "/",
        "/note",
        "/subscribe?telegram=x",
        f"/account?telegram={pages.token(user)}",
        "/nothing",
        "/thanks?session=1",
    ):
        answer = get(pages, path)
        assert pages.servers.settings.distribution.disclaimer in answer.text, path
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Referrer-Policy"] == "no-referrer"
        assert (
            "<script" not in answer.text and "style=" not in answer.text and "http://" not in answer.text.replace(pages.url, "")
        )


def test_a_form_may_lead_to_stripe_and_nowhere_else(pages: Pages) -> None:
    policy = get(pages, "/").headers["Content-Security-Policy"]
    forms = next(part for part in policy.split("; ") if part.startswith("form-action"))
    assert forms.split()[1:] == ["'self'", "https://checkout.stripe.com", "https://billing.stripe.com", pages.vendors.url]


@pytest.mark.parametrize("path", ["/checkout", "/portal"])
def test_a_form_without_its_token_is_refused(pages: Pages, path: str) -> None:
    form = {"telegram": pages.token(1), "tier": "premium"}
    answer = requests.post(f"{pages.url}{path}", data=form, allow_redirects=False, timeout=5)
    assert answer.status_code == 400 and "load it again" in answer.text


def test_only_the_bots_own_links_are_believed(pages: Pages) -> None:
    key = pages.servers.vault.get("session_key") or ""
    links = URLSafeTimedSerializer(key, salt="telegram-link")
    wrong = ["", "x", pages.token(5) + "x", links.dumps("5"), links.dumps(-5), links.dumps(True), links.dumps([5])]
    wrong += [URLSafeTimedSerializer(key, salt="dashboard-login-link").dumps(5), URLSafeTimedSerializer("k", salt="s").dumps(5)]
    for token in wrong:
        answer = get(pages, "/subscribe", telegram=token)
        assert answer.status_code == 400 and "Send /subscribe" in answer.text
    assert get(pages, "/subscribe", telegram=pages.token(5)).status_code == 200


def test_unknown_things_are_named_plainly(pages: Pages) -> None:
    user = next(pages.users)
    assert pages.press(user, "/checkout", tier="gold").status_code == 400
    assert pages.press(user, "/portal").status_code == 404
    assert get(pages, "/thanks", session="cs_test_unknown").status_code == 404
    assert get(pages, "/thanks", session="../x").status_code == 404
    assert get(pages, "/checkout").status_code == 405
    assert requests.get(pages.url, headers={"Host": "evil.example"}, timeout=5).status_code == 400


def test_the_notes_first_lines_are_everyones(pages: Pages) -> None:
    assert "There is none yet" in get(pages, "/note").text
    text = "Futures are higher.\n<script>alert(1)</script> …"
    note = Analysis("2026-11-18", "Morning note, 2026-11-18", text, "template", {}, "Not investment advice.", 1)
    store = pages.servers.store(Module.ROUTINES)
    batch = store.batch()
    batch.put(k.ANALYSIS_PREVIEW.at(), note)
    store.commit(batch)
    page = get(pages, "/note").text
    assert "Futures are higher." in page and "without commentary" in page
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_who_asks_too_often_waits_and_others_do_not(pages: Pages) -> None:
    user, other = next(pages.users), next(pages.users)
    answers = [pages.press(user, "/checkout", tier="premium").status_code for _ in range(11)]
    assert answers == [303] * 10 + [429]
    assert pages.press(other, "/checkout", tier="premium").status_code == 303
