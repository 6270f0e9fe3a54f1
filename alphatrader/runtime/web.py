"""Serves a Flask application under gunicorn: one worker process with threads, so that Flask-SocketIO needs no message queue.

`create_app(context)` is called in the worker process; the address is the line's setting (honcho sets PORT, which is ignored).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

from alphatrader.contract.modules import Module
from alphatrader.roster import Line
from alphatrader.runtime.beating import be_of_this_build
from alphatrader.runtime.context import process_context
from alphatrader.runtime.settings import load

_THREADS = 100


class _Application(BaseApplication):  # type: ignore[misc]
    def __init__(self, options: dict[str, Any], make: Callable[[], Any]) -> None:
        self._options = options
        self._make = make
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._make()


def serve(line: Line) -> None:
    """Runs until SIGTERM."""
    be_of_this_build(process_context(line.module))
    web = load().web
    host, port = ("127.0.0.1", web.dashboard_port) if line.module == Module.DASHBOARD else (web.pages_host, web.pages_port)

    def make() -> Any:
        package, _, function = line.target.partition(":")
        return getattr(importlib.import_module(package), function)(process_context(line.module))

    options = {
        "bind": f"{host}:{port}",
        "workers": 1,
        "threads": _THREADS,
        "worker_class": "gthread",
        "graceful_timeout": 1,
        "timeout": 60,
        "proc_name": f"alphatrader-{line.module}",
        "loglevel": "warning",
        "control_socket_disable": True,
    }
    _Application(options, make).run()
