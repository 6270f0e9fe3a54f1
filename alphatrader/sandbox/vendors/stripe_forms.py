"""How Stripe's v1 API takes parameters (nested form fields) and refuses them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Refusal(Exception):
    """A request that Stripe answers with an error object."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {
            "type": kind or ("invalid_request_error" if status < 500 else "api_error"),
            "message": message,
        }
        if param:
            self.body["param"] = param
        if code:
            self.body["code"] = code


def nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """`items[0][price]=p&metadata[a]=b` as {"items": [{"price": "p"}], "metadata": {"a": "b"}}."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        parts = name.replace("]", "").split("[")
        node = tree
        for part in parts[:-1]:
            deeper = node.setdefault(part, {})
            if not isinstance(deeper, dict):
                raise Refusal(400, f"Invalid parameter {name}", param=name)
            node = deeper
        last = parts[-1]
        if last == "":  # a[]=x
            node[str(len(node))] = value
        else:
            node[last] = value
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(part) for key, part in value.items()}


def text(params: dict[str, Any], name: str) -> str | None:
    value = params.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Refusal(400, f"Invalid string: {name}", param=name)
    return value


def required(params: dict[str, Any], name: str) -> str:
    value = text(params, name)
    if value is None:
        raise Refusal(400, f"Missing required param: {name}.", param=name, code="parameter_missing")
    return value


def integer(params: dict[str, Any], name: str) -> int | None:
    value = text(params, name)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise Refusal(400, f"Invalid integer: {value}", param=name, code="parameter_invalid_integer") from None


def boolean(params: dict[str, Any], name: str) -> bool | None:
    value = text(params, name)
    if value is None:
        return None
    if value not in ("true", "false"):
        raise Refusal(400, f"Invalid boolean: {value}", param=name)
    return value == "true"


def mapping(params: dict[str, Any], name: str) -> dict[str, Any]:
    value = params.get(name)
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        raise Refusal(400, f"Invalid object: {name}", param=name)
    return value


def sequence(params: dict[str, Any], name: str) -> list[Any]:
    value = params.get(name)
    if value in (None, ""):
        return []
    if not isinstance(value, list):
        raise Refusal(400, f"Invalid array: {name}", param=name)
    return value


def metadata(params: dict[str, Any], held: dict[str, str] | None = None) -> dict[str, str]:
    """Stripe merges metadata; an empty value removes its key."""
    given = mapping(params, "metadata")
    merged = {**(held or {}), **{key: str(value) for key, value in given.items()}}
    return {key: value for key, value in merged.items() if value != ""}
