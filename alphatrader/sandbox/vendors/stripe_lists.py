"""What the Stripe stand-in lists: which kinds, by what each list filters, and how it pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alphatrader.sandbox.vendors import stripe_objects as objects
from alphatrader.sandbox.vendors.stripe_books import subscription_of
from alphatrader.sandbox.vendors.stripe_forms import Refusal, integer, mapping, sequence, text
from alphatrader.sandbox.vendors.stripe_objects import Object


def _word(value: bool) -> str:
    return "true" if value else "false"


# kind -> (path, filters of its list: parameter -> what it is compared with)
LISTS: dict[str, tuple[str, dict[str, Callable[[Object], Any]]]] = {
    "product": ("products", {"active": lambda one: _word(one["active"])}),
    "price": (
        "prices",
        {
            "active": lambda one: _word(one["active"]),
            "product": lambda one: one["product"],
            "currency": lambda one: one["currency"],
            "type": lambda one: one["type"],
        },
    ),
    "customer": ("customers", {"email": lambda one: one["email"]}),
    "checkout.session": (
        "checkout/sessions",
        {
            "customer": lambda one: one["customer"],
            "subscription": lambda one: one["subscription"],
            "status": lambda one: one["status"],
        },
    ),
    "invoice": (
        "invoices",
        {
            "customer": lambda one: one["customer"],
            "subscription": lambda one: subscription_of(one),
            "status": lambda one: one["status"],
        },
    ),
    "invoice_payment": ("invoice_payments", {"invoice": lambda one: one["invoice"], "status": lambda one: one["status"]}),
    "charge": ("charges", {"customer": lambda one: one["customer"], "payment_intent": lambda one: one["payment_intent"]}),
    "refund": ("refunds", {"charge": lambda one: one["charge"], "payment_intent": lambda one: one["payment_intent"]}),
    "dispute": ("disputes", {"charge": lambda one: one["charge"], "payment_intent": lambda one: one["payment_intent"]}),
    "event": ("events", {"type": lambda one: one["type"]}),
}
_BOUNDS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda value, edge: value > edge,
    "gte": lambda value, edge: value >= edge,
    "lt": lambda value, edge: value < edge,
    "lte": lambda value, edge: value <= edge,
}


def listed(kind: str, found: list[Object], params: Object) -> Object:
    """A page of those of a kind that the filters let through."""
    path, filters = LISTS[kind]
    for name, value_of in filters.items():
        wanted = text(params, name)
        if wanted is not None:
            found = [one for one in found if value_of(one) == wanted]
    if kind == "price" and (lookups := sequence(params, "lookup_keys")):
        found = [one for one in found if one["lookup_key"] in lookups]
    if kind == "event" and (types := sequence(params, "types")):
        found = [one for one in found if one["type"] in types]
    if kind == "invoice_payment" and (intent := mapping(params, "payment").get("payment_intent")):
        found = [one for one in found if one["payment"]["payment_intent"] == intent]
    return paged(f"/v1/{path}", found, params)


def paged(url: str, found: list[Object], params: Object) -> Object:
    limit = integer(params, "limit") or 10
    if not 1 <= limit <= 100:
        raise Refusal(400, "Invalid limit: must be between 1 and 100", param="limit")
    created = params.get("created")
    if isinstance(created, dict):
        for bound, holds in _BOUNDS.items():
            if (edge := integer(created, bound)) is not None:
                found = [one for one in found if holds(one["created"], edge)]
    places = {one["id"]: place for place, one in enumerate(found)}
    if (after := text(params, "starting_after")) is not None:
        found = found[places.get(after, len(found)) + 1 :]
    elif (before := text(params, "ending_before")) is not None:
        end = places.get(before, 0)
        return objects.list_object(url, found[max(0, end - limit) : end], has_more=end > limit)
    return objects.list_object(url, found[:limit], has_more=len(found) > limit)
