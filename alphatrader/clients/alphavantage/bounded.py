"""Connections whose answer must begin in time: requests bounds each read, and a head that trickles has no end of them.

Used by client.py, which bounds the body itself.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection


def _cut(connection: Any) -> None:
    with suppress(OSError, AttributeError):  # it has ended meanwhile, which is what was wanted
        connection.sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def _cut_after(connection: Any) -> Iterator[None]:
    """The read time-out, which urllib3 puts on the connection before it waits, for the whole head."""
    timer = threading.Timer(float(connection.timeout), _cut, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Connection(HTTPConnection):
    def getresponse(self) -> Any:
        with _cut_after(self):
            return super().getresponse()


class _SecureConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        with _cut_after(self):
            return super().getresponse()


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class BoundedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
