"""The server's side of OAuth 1.0a HMAC-SHA1 (RFC 5849), written apart from the client's library so that it checks it."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable
from hashlib import sha1
from urllib.parse import quote, unquote


def authorization_fields(header: str) -> dict[str, str]:
    """The parameters of an `Authorization: OAuth ...` header; empty when it is none."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "oauth":
        return {}
    fields = {}
    for part in rest.split(","):
        name, _, value = part.strip().partition("=")
        fields[unquote(name)] = unquote(value.strip('"'))
    return fields


def signature(method: str, url: str, parameters: Iterable[tuple[str, str]], consumer_secret: str, token_secret: str) -> str:
    """HMAC-SHA1 over the base string. `parameters`: query and OAuth fields, without realm and signature; no JSON body."""
    encoded = sorted((_escaped(name), _escaped(value)) for name, value in parameters)
    joined = "&".join(f"{name}={value}" for name, value in encoded)
    base = "&".join((method.upper(), _escaped(url), _escaped(joined)))
    key = f"{_escaped(consumer_secret)}&{_escaped(token_secret)}"
    return base64.b64encode(hmac.new(key.encode(), base.encode(), sha1).digest()).decode()


def _escaped(text: str) -> str:
    return quote(text, safe="-._~")
