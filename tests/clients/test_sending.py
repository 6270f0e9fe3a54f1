"""What a failed request to a vendor says of its message: surely not sent, or perhaps taken, over TLS as well."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from alphatrader.clients.sending import LostAnswerError, SendError, UnreachableError, of_requests

ANONYMOUS = "AECDH:@SECLEVEL=0"
"""Cipher suites that need no certificate."""
DAMAGED = b"\x17\x03\x03\x00\x40" + bytes(64)
"""A record of application data that no key opens."""


class Anonymous(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ANONYMOUS)
        super().init_poolmanager(*args, **more, ssl_context=context)


@contextmanager
def vendor(does: str) -> Iterator[tuple[int, list[bytes]]]:
    """Its port, and the requests it has received."""
    taken: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        plain, _ = listening.accept()
        with plain:
            if does == "speaks no TLS":
                plain.recv(10)
                plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            elif does == "leaves amid the handshake":
                plain.recv(10)
            else:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.set_ciphers(ANONYMOUS)
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                with context.wrap_socket(plain, server_side=True) as secure:
                    taken.append(secure.recv(4096))
                    if does == "answers damaged":
                        os.write(secure.fileno(), DAMAGED)
                    secure.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], taken
    finally:
        listening.close()
        thread.join(5)


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize(
    ("does", "kind"),
    [
        ("speaks no TLS", UnreachableError),
        ("leaves amid the handshake", UnreachableError),
        ("answers damaged", LostAnswerError),
        ("leaves after the request", LostAnswerError),
    ],
)
def test_what_fails_after_the_request_has_left_is_never_taken_for_unsent(does: str, kind: type[SendError]) -> None:
    with vendor(does) as (port, taken), requests.Session() as session:
        session.mount("https://", Anonymous())
        with pytest.raises(requests.RequestException) as failed:
            session.post(f"https://127.0.0.1:{port}/message", json={"content": "buy"}, timeout=5, verify=False)
        assert type(of_requests(failed.value)) is kind
    assert bool(taken) is (kind is LostAnswerError)
