"""The vendors' published specifications (../shared/data/specs), as checks of what goes over the wire.

A test that asks for one where the folder is absent is skipped, and says so.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

SPECS = Path(__file__).resolve().parents[2] / "../shared/data/specs"


@functools.cache
def spec(path: str) -> dict[str, Any]:
    file = SPECS / path
    if not file.exists():
        pytest.skip(f"the vendors' specification {path} is not on this machine")
    return json.loads(file.read_text())


class OpenApi:
    """`Discord` or `OpenAI`: values against the schemas of an OpenAPI 3.1 document."""

    def __init__(self, path: str) -> None:
        self._document = spec(path)

    def check(self, value: Any, schema: str) -> None:
        self._check(value, {"$ref": f"#/components/schemas/{schema}"})

    def check_any(self, value: Any, *schemas: str) -> None:
        self._check(value, {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in schemas]})

    def _check(self, value: Any, schema: dict[str, Any]) -> None:
        validator = Draft202012Validator({**schema, "components": self._document["components"]})
        errors = [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in validator.iter_errors(value)]
        assert not errors, errors


class TelegramTypes:
    """Values against the Bot API's types; a type that the reduced document leaves out is taken as it is."""

    def __init__(self) -> None:
        document = spec("telegram/api.reduced.json")
        self._types, self._methods = document["types"], document["methods"]
        self._simple = {"Integer": int, "String": str, "Boolean": bool, "True": bool, "Float": (int, float)}

    def check_result(self, method: str, value: Any) -> None:
        errors = [self.errors(value, name, method) for name in self._methods[method]["returns"]]
        assert [] in errors, errors

    def check_request(self, method: str, fields: dict[str, Any]) -> None:
        known = {field["name"]: field for field in self._methods[method].get("fields", [])}
        assert not set(fields) - set(known), f"{method}: unknown {set(fields) - set(known)}"
        missing = [name for name, field in known.items() if field["required"] and name not in fields]
        assert not missing, f"{method}: missing {missing}"

    def check(self, value: Any, name: str) -> None:
        errors = self.errors(value, name, name)
        assert not errors, errors

    def errors(self, value: Any, name: str, place: str) -> list[str]:
        if name.startswith("Array of "):
            if not isinstance(value, list):
                return [f"{place}: not a list"]
            return [found for n, one in enumerate(value) for found in self.errors(one, name[9:], f"{place}.{n}")]
        if name in self._simple:
            right = isinstance(value, self._simple[name]) and (name in ("Boolean", "True") or not isinstance(value, bool))
            return [] if right else [f"{place}: {value!r} is no {name}"]
        if name not in self._types:
            return []
        described = self._types[name]
        if described.get("subtypes"):
            found = [self.errors(value, subtype, place) for subtype in described["subtypes"]]
            return [] if [] in found else min(found, key=len)
        if not isinstance(value, dict):
            return [f"{place}: {value!r} is no {name}"]
        fields = {field["name"]: field for field in described.get("fields", [])}
        errors = [f"{place}.{extra}: not a field of {name}" for extra in set(value) - set(fields)]
        for field, about in fields.items():
            if field in value:
                tried = [self.errors(value[field], kind, f"{place}.{field}") for kind in about["types"]]
                errors += [] if [] in tried else min(tried, key=len)
            elif about["required"]:
                errors.append(f"{place}.{field}: missing")
        return errors


class StripeFields:
    """Objects against the field lists of stripe-python 16.1.0 (API 2026-10-28)."""

    CLASSES = {  # noqa: RUF012
        "customer": "Customer",
        "product": "Product",
        "price": "Price",
        "checkout.session": "checkout.Session",
        "subscription": "Subscription",
        "subscription_item": "SubscriptionItem",
        "invoice": "Invoice",
        "invoice_payment": "InvoicePayment",
        "line_item": "InvoiceLineItem",
        "billing_portal.session": "billing_portal.Session",
        "refund": "Refund",
        "dispute": "Dispute",
        "event": "Event",
        "charge": "Charge",
    }

    def __init__(self) -> None:
        self._resources = spec("stripe/stripe-python-16.1.0-fields.json")["resources"]

    def check(self, value: Any, place: str = "") -> None:
        """Every known object inside `value` has no field the version lacks, and every field that it always has."""
        if isinstance(value, list):
            for number, one in enumerate(value):
                self.check(one, f"{place}.{number}")
        if not isinstance(value, dict):
            return
        kind = value.get("object")  # an event's data has an object under this name instead
        name = self.CLASSES.get(kind) if isinstance(kind, str) else None
        if name is not None:
            fields = self._resources[name][name.rsplit(".", 1)[-1]]
            always = {field for field, kind in fields.items() if not kind.startswith(("Optional", "ClassVar"))}
            assert not set(value) - set(fields), f"{place} {name}: fields of another version: {set(value) - set(fields)}"
            assert not always - set(value), f"{place} {name}: missing {always - set(value)}"
            empty = {field for field in always if value[field] is None}
            assert not empty, f"{place} {name}: never null: {empty}"
        for field, one in value.items():
            self.check(one, f"{place}.{field}")
