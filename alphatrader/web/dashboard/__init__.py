"""The operator's dashboard: everything the modules say, live, and the buttons that halt, resume and flatten.

Flask and Flask-SocketIO on 127.0.0.1, started by its line (`runtime/web.py`). Readers (`*_reader.py`) keep a `Board` of small
plain values up to date; `live.py` sends each client what changed; `control.py` writes requests to `control:dashboard`, the only
thing this module writes beside its heartbeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from alphatrader.runtime.context import Context


def create_app(context: Context) -> Flask:
    """The application, its readers running. Flask is imported here: commands use this package's views without it."""
    from alphatrader.web.dashboard.app import create_app as make

    return make(context)
