"""The operator's browser: a real headless Chromium, logged in to the dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.flow.system import System
from tests.support.chromium import chromium


@dataclass
class Browser:
    driver: webdriver.Chrome

    def text(self, selector: str) -> str:
        return self.driver.find_element(By.CSS_SELECTOR, selector).text

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def errors(self) -> list[str]:
        """What the page's console complained of."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def close(self) -> None:
        """The page is left; what draws it no longer takes its part of the machine."""
        self.driver.quit()


@contextmanager
def open_browser(system: System) -> Iterator[Browser]:
    """At the dashboard, through a one-time login link."""
    with chromium() as driver:
        driver.get(system.command("login").stdout.strip())
        yield Browser(driver)
