"""The page in a real browser: it draws what is there, breaks no rule of its own policy, and HALT is one click."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from tests.support.chromium import chromium
from tests.web.desk import Desk
from tests.web.test_dashboard_access import requests_written


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


def inked(browser: Any, name: str) -> bool:
    """Whether anything is drawn on a canvas."""
    script = """const c = document.getElementById(arguments[0]);
        return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some(value => value !== 0)"""
    return bool(browser.execute_script(script, name))


def test_the_page_draws_the_day_and_halts_in_one_click(day: Desk, link: Callable[[], str], browser: Any) -> None:
    day.halt(number=4)
    day.moment(1)
    browser.get(link())

    def text(name: str) -> str:
        return str(browser.execute_script("return document.getElementById(arguments[0]).textContent", name))

    def wait(name: str, wanted: str, seconds: float = 20.0) -> None:
        until = time.monotonic() + seconds
        while wanted not in text(name):
            assert time.monotonic() < until, f"{name}: {text(name)}"
            time.sleep(0.05)
            day.quotes(1)

    wait("halt-state", "Trading allowed")
    wait("quotes", "no feed")
    wait("quotes", "SPY")
    wait("positions", "SPY 18 Nov 661 C")
    wait("orders-note", "UNKNOWN")
    wait("signals", "refused: spread")
    wait("modules", "watchdog")
    wait("note", "Futures firm")
    assert browser.execute_script("return document.querySelectorAll('#chart canvas').length") > 0
    day.metrics()
    day.book()
    wait("profile-note", "USD per 1 %")
    wait("heat-note", "resting size")
    assert inked(browser, "profile") and inked(browser, "heat")
    wait("sweeps", "▲ buy")
    assert text("sweeps").index("650") < text("sweeps").index("162"), "the newest sweep comes first"
    day.silence()
    wait("sweeps", "no word from analytics")
    wait("h-positions", "positions is down: this is as it was")
    wait("strip", "Unrealized, as it was")
    assert "is down" not in text("h-orders"), "execution's heart beats"
    day.moment(1)
    wait("sweeps", "▲ buy")

    before = len(requests_written(day))
    browser.find_element("id", "halt").click()
    until = time.monotonic() + 5
    while len(requests_written(day)) == before:
        assert time.monotonic() < until, "no request was written"
        time.sleep(0.02)
    assert requests_written(day)[-1].kind == "halt"
    day.halt(halted=True, number=5, reason="HALT button", by="operator on the dashboard")
    wait("halt-state", "HALTED")

    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert complaints == []
    assert day.store(Module.OPERATOR).get(k.HALT.at()).epoch == 5


def test_what_the_page_cannot_hear_of_any_more_is_never_shown_as_now(day: Desk, link: Callable[[], str], browser: Any) -> None:
    day.halt(number=4)
    day.moment(1)
    browser.get(link())

    def until(holds: str) -> None:
        end = time.monotonic() + 30
        while not browser.execute_script(f"return {holds}"):
            assert time.monotonic() < end, holds
            time.sleep(0.05)

    marked = """["strip", "h-risk", "h-positions", "h-orders", "h-signals", "h-why"]
        .map(id => document.getElementById(id).textContent)
        .map(text => text.includes("as it was"))"""
    until("document.getElementById('positions').textContent.includes('SPY 18 Nov')")
    assert not any(browser.execute_script(f"return {marked}")[:1])
    process = day.servers.processes[Module.STATE].pid
    os.kill(process, signal.SIGSTOP)
    try:
        until(f"{marked}.every(Boolean)")
        until("document.getElementById('banner').textContent.includes('The state server does not answer')")
        assert browser.execute_script("return getComputedStyle(document.querySelector('#strip dd')).opacity") == "0.5"
        assert browser.execute_script("return document.getElementById('expected').textContent") == ""
    finally:
        os.kill(process, signal.SIGCONT)
    until("!document.body.classList.contains('lost')")
    until("!document.getElementById('strip').textContent.includes('Equity, as it was')")


SHIFTS = """window.shifted = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) if (!e.hadRecentInput)
    window.shifted += e.value; }).observe({type: "layout-shift", buffered: true})"""
DRAWINGS = """window.drawn = 0; new MutationObserver(() => window.drawn++).observe(
    document.getElementById("why"), {childList: true, subtree: true})"""
NAMELESS = {"button", "link", "combobox", "textbox", "table", "region", "dialog"}


def test_the_page_follows_the_system_s_colours_jumps_nowhere_and_is_had_by_keyboard(
    day: Desk, link: Callable[[], str], browser: Any
) -> None:
    day.halt(number=4)
    day.moment(1)
    run, step = browser.execute_script, [1]

    def system(scheme: str) -> str:
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        return str(run("return document.documentElement.dataset.theme"))

    def until(what: str, holds: Callable[[], Any]) -> None:
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end, what
            step[0] += 1
            day.moment(step[0])
            time.sleep(0.05)

    # given a system in light colours: the page is light, and jumps nowhere while the first values come
    system("light")
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SHIFTS})
    browser.get(link())
    assert system("light") == "light"
    until("positions", lambda: "SPY 18 Nov" in run("return document.getElementById('positions').textContent"))
    assert run("return window.shifted") < 0.1
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.refresh()
    until("positions", lambda: "SPY 18 Nov" in run("return document.getElementById('positions').textContent"))
    assert run("return window.shifted") < 0.1 and run("return document.documentElement.scrollWidth") <= 360
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    # it follows, until the other is chosen, and again once it equals the system's
    until("dark", lambda: system("dark") == "dark")
    browser.find_element("id", "theme").click()
    assert system("light") == "light" and system("dark") == "light"
    browser.find_element("id", "theme").click()
    until("light again", lambda: system("light") == "light")

    # what a person opened by keyboard stays open and holds the focus, though the page is drawn anew four times a second
    until("windows", lambda: run("return document.querySelector('#why details')"))
    opened = bool(run("const d = document.querySelector('#why details'); d.firstChild.focus(); return d.open"))
    run("return document.activeElement").send_keys(Keys.ENTER)
    run(DRAWINGS)
    until("two drawings", lambda: run("return window.drawn") > 1)
    assert run("return document.querySelector('#why details').open") is not opened
    assert run("return document.activeElement === document.querySelector('#why summary')")
    assert run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"

    # and everything that can be used has a name
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [(n["role"]["value"], n.get("name", {}).get("value")) for n in tree if not n["ignored"] and "role" in n]
    assert [role for role, name in named if role in NAMELESS and not name] == []
    assert len([role for role, _ in named if role in NAMELESS]) > 20
