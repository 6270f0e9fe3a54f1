"""A real dashboard process before the test's servers, and the operator's browser session in `requests`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from alphatrader.contract.modules import Module
from tests.support.servers import Servers


@dataclass
class Dashboard:
    url: str
    password: str
    process: subprocess.Popen[bytes]

    def login(self) -> requests.Session:
        session = requests.Session()
        answer = session.post(
            f"{self.url}/login", data={"password": self.password, "csrf_token": csrf(session, self.url)}, timeout=5
        )
        assert answer.status_code == 200 and answer.url == f"{self.url}/", answer.text
        return session


def csrf(session: requests.Session, url: str, path: str = "/login") -> str:
    page = session.get(url + path, timeout=5).text
    return page.split('name="csrf-token" content="')[1].split('"')[0]


@contextmanager
def running_dashboard(servers: Servers, port: int) -> Iterator[Dashboard]:
    """The process as its parent starts it: gunicorn, with the dashboard's own secrets only."""
    environment = dict(os.environ) | servers.environment | servers.vault.environment_for(Module.DASHBOARD)
    environment["ALPHATRADER_WEB__DASHBOARD_PORT"] = str(port)
    root = Path(__file__).resolve().parents[2]
    log = servers.folder / "dashboard.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "alphatrader.runtime.child", "dashboard"],
            cwd=root,
            env=environment,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 20
        while True:
            try:
                if requests.get(f"{url}/healthz", timeout=1).status_code == 200:
                    break
            except requests.RequestException:
                pass
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield Dashboard(url, servers.vault.get("operator_password") or "", process)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
