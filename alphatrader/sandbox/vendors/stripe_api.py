"""The Stripe stand-in's v1 API at /stripe/v1: what selling subscriptions through Checkout needs.

Products, prices, customers, checkout sessions, subscriptions, invoices, invoice payments, charges, refunds, disputes,
events, portal sessions. Lists page and filter, `expand` works by path, POSTs honour Idempotency-Key for a day, objects
have the fields of API version 2026-10-28.endive. Pages and sandbox-only calls are in `stripe_pages.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from flask import Blueprint, Response, g, request

from alphatrader.sandbox.vendors import stripe_objects as objects
from alphatrader.sandbox.vendors.exchange import answer, tell
from alphatrader.sandbox.vendors.store import Store
from alphatrader.sandbox.vendors.stripe_books import Books
from alphatrader.sandbox.vendors.stripe_forms import (
    Refusal,
    boolean,
    integer,
    mapping,
    metadata,
    nested,
    required,
    sequence,
    text,
)
from alphatrader.sandbox.vendors.stripe_lists import LISTS, listed, paged
from alphatrader.sandbox.vendors.stripe_objects import Object
from alphatrader.sandbox.vendors.stripe_pages import add_pages
from alphatrader.sandbox.vendors.wirelog import WireLog
from alphatrader.sandbox.vendors.world import VendorWorld

IDEMPOTENCY_SECONDS = 86_400
CHECKOUT_SECONDS = 86_400
KEPT_KEYS = 5000
Call = Callable[..., Object]


class Stripe:
    name = "stripe"

    def __init__(self, world: VendorWorld, store: Store, wire: WireLog) -> None:
        self._world, self._store = world, store
        self.books = Books(world, store, wire)
        self.webhooks = self.books.webhooks

    def error(self, status: int, seconds: float) -> Response:
        kind, code = ("invalid_request_error", "rate_limit") if status == 429 else ("api_error", None)
        body = {"type": kind, "message": "Request rate limit exceeded." if status == 429 else "An unknown error occurred."}
        return answer({"error": {**body, "code": code} if code else body}, status)

    def blueprint(self) -> Blueprint:
        routes = Blueprint(self.name, __name__)

        def on(method: str, path: str, act: Call) -> None:
            routes.add_url_rule(f"/v1/{path}", f"{method} {path}".replace(".", "-"), self._call(act), methods=[method])

        for kind, (path, _) in LISTS.items():
            on("GET", path, lambda params, kind=kind: listed(kind, self.books.all(kind), params))
            on("GET", f"{path}/<key>", lambda params, key, kind=kind: self.books.get(kind, key))
        on("POST", "products", self._create_product)
        on("POST", "prices", self._create_price)
        on("POST", "customers", self._create_customer)
        on("POST", "customers/<key>", self._update_customer)
        on("POST", "checkout/sessions", self._create_session)
        on("POST", "checkout/sessions/<key>/expire", lambda params, key: self.books.expire_session(key))
        on("GET", "checkout/sessions/<key>/line_items", self._session_lines)
        on("GET", "subscriptions", self._list_subscriptions)
        on("POST", "subscriptions", self._create_subscription)
        on("GET", "subscriptions/<key>", lambda params, key: self.books.get("subscription", key))
        on("POST", "subscriptions/<key>", self._update_subscription)
        on("DELETE", "subscriptions/<key>", lambda params, key: self.books.cancel(key))
        on("POST", "refunds", self._create_refund)
        on("POST", "billing_portal/sessions", self._create_portal)
        add_pages(routes, self.books)
        return routes

    # -- around every call --------------------------------------------------------------------------------------------

    def _call(self, act: Call) -> Callable[..., Response]:
        def view(**keys: str) -> Response:
            try:
                self._authorise()
                pairs = [(name, value) for name, values in (request.form or request.args).lists() for value in values]
                return self._once(act, nested(pairs), keys)
            except Refusal as refused:
                g.accepted = False
                return _refused(refused)

        return view

    def _authorise(self) -> None:
        given = request.authorization
        key = (given.token or given.username or "") if given is not None else ""
        if not key:
            raise Refusal(401, "You did not provide an API key.")
        if key != self._world.credentials.stripe_secret_key:
            raise Refusal(401, "Invalid API Key provided.")

    def _once(self, act: Call, params: Object, keys: dict[str, str]) -> Response:
        """Acts at most once for an idempotency key; the same key with other parameters is refused, as Stripe does."""
        idempotency = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        with self._store.transaction():
            request_id = self.books.key("req")
            print_of = sha256(request.method.encode() + request.path.encode() + request.get_data()).hexdigest()
            held = self._store.get(self.name, "idempotency", idempotency) if idempotency else None
            if held is not None and held["at"] > self._world.machine_s() - IDEMPOTENCY_SECONDS:
                if held["print"] != print_of:
                    message = "Keys for idempotent requests can only be used with the same parameters they were first used with."
                    raise Refusal(400, message, kind="idempotency_error")
                return answer(held["body"], held["status"], {"Request-Id": request_id, "Idempotent-Replayed": "true"})
            try:
                with self.books.change({"id": request_id, "idempotency_key": idempotency}):
                    body, status = self._expanded(act(params, **keys), params), 200
            except Refusal as refused:
                body, status = {"error": refused.body}, refused.status
            if idempotency:
                self._store.put(
                    self.name,
                    "idempotency",
                    idempotency,
                    {"at": self._world.machine_s(), "print": print_of, "status": status, "body": body},
                )
                self._store.trim(self.name, "idempotency", KEPT_KEYS)
        if request.method != "GET" and status == 200:
            tell("api", f"{request.method} {request.path.removeprefix('/stripe')}", _lines(params))
        headers = {"Request-Id": request_id, "Stripe-Version": objects.API_VERSION}
        return answer(body, status, headers)

    def _expanded(self, body: Object, params: Object) -> Object:
        for path in sequence(params, "expand"):
            self._expand(body, str(path).split("."))
        return body

    def _expand(self, node: Any, path: list[str]) -> None:
        if not path or node is None:
            return
        if isinstance(node, list):
            for one in node:
                self._expand(one, path)
            return
        if not isinstance(node, dict):
            return
        name = path[0]
        if name == "line_items" and node.get("object") == "checkout.session":
            node[name] = self._session_lines({}, node["id"])
        elif name == "payments" and node.get("object") == "invoice":
            paid = [one for one in self.books.all("invoice_payment") if one["invoice"] == node["id"]]
            node[name] = objects.list_object(f"/v1/invoice_payments?invoice={node['id']}", paid)
        elif isinstance(node.get(name), str):
            node[name] = self.books.find(node[name]) or node[name]
        self._expand(node.get(name), path[1:])

    # -- calls --------------------------------------------------------------------------------------------------------

    def _create_product(self, params: Object) -> Object:
        key = text(params, "id") or self.books.key("prod")
        product = objects.product(key, self.books.now(), required(params, "name"), metadata(params), text(params, "description"))
        self.books.put("product", product)
        self.books.emit("product.created", product)
        return product

    def _create_price(self, params: Object) -> Object:
        inline = mapping(params, "product_data")
        product = self._create_product(inline)["id"] if inline else self.books.get("product", required(params, "product"))["id"]
        price = self._price(params, product)
        self.books.put("price", price)
        self.books.emit("price.created", price)
        return price

    def _price(self, params: Object, product: str) -> Object:
        cents = integer(params, "unit_amount")
        if cents is None or cents < 0:
            raise Refusal(400, "Missing required param: unit_amount.", param="unit_amount", code="parameter_missing")
        recurring = mapping(params, "recurring")
        interval = required(recurring, "interval") if recurring else None
        if interval not in (None, "day", "week", "month", "year"):
            raise Refusal(400, "Invalid recurring[interval]", param="recurring[interval]")
        lookup = text(params, "lookup_key")
        if lookup is not None:
            for other in self.books.all("price"):
                if other["lookup_key"] == lookup:
                    if not boolean(params, "transfer_lookup_key"):
                        raise Refusal(400, f"A price (`{other['id']}`) already uses that lookup key.", param="lookup_key")
                    self.books.put("price", {**other, "lookup_key": None})
        return objects.price(
            self.books.key("price"),
            self.books.now(),
            product,
            cents,
            required(params, "currency"),
            interval,
            interval_count=integer(recurring, "interval_count") or 1,
            lookup_key=lookup,
            nickname=text(params, "nickname"),
            metadata=metadata(params),
        )

    def _create_customer(self, params: Object) -> Object:
        return self.books.new_customer(text(params, "email"), text(params, "name"), metadata(params))

    def _update_customer(self, params: Object, key: str) -> Object:
        customer = self.books.get("customer", key)
        changes: Object = {name: text(params, name) for name in ("email", "name", "description", "phone") if name in params}
        if "metadata" in params:
            changes["metadata"] = metadata(params, customer["metadata"])
        previous = {name: customer[name] for name, value in changes.items() if customer[name] != value}
        customer.update(changes)
        self.books.put("customer", customer)
        if previous:
            self.books.emit("customer.updated", customer, previous)
        return customer

    def _create_session(self, params: Object) -> Object:
        mode = required(params, "mode")
        if mode != "subscription":
            raise Refusal(400, f"The sandbox's stand-in sells subscriptions only, not mode={mode}.", param="mode")
        lines = []
        for place, given in enumerate(sequence(params, "line_items")):
            inline = mapping(given, "price_data")
            price = self._create_price(inline) if inline else self.books.get("price", required(given, "price"))
            if price["recurring"] is None:
                raise Refusal(400, "You must provide at least one recurring price in `subscription` mode.", param="line_items")
            lines.append(objects.line_item(f"li_{place}", price, integer(given, "quantity") or 1))
        if not lines:
            raise Refusal(400, "You must provide line_items.", param="line_items", code="parameter_missing")
        customer = text(params, "customer")
        if customer is not None:
            self.books.get("customer", customer)
        key, now = self.books.key("cs_test"), self.books.now()
        expires = integer(params, "expires_at") or now + CHECKOUT_SECONDS
        if not now + 1800 <= expires <= now + CHECKOUT_SECONDS:
            raise Refusal(400, "expires_at must be between 30 minutes and 24 hours from now.", param="expires_at")
        session = objects.checkout_session(
            key,
            now,
            f"{request.host_url}stripe/checkout/{key}",
            amount=sum(line["amount_total"] for line in lines),
            cancel_url=text(params, "cancel_url"),
            client_reference_id=text(params, "client_reference_id"),
            currency=lines[0]["currency"],
            customer=customer,
            customer_email=text(params, "customer_email"),
            expires_at=expires,
            metadata=metadata(params),
            mode=mode,
            success_url=required(params, "success_url"),
        )
        more = {"line_items": lines, "subscription_metadata": metadata(mapping(params, "subscription_data"))}
        self.books.keep("checkout.more", key, more)
        return self.books.put("checkout.session", session)

    def _session_lines(self, params: Object, key: str) -> Object:
        self.books.get("checkout.session", key)
        lines = (self.books.kept("checkout.more", key) or {}).get("line_items", [])
        return objects.list_object(f"/v1/checkout/sessions/{key}/line_items", lines)

    def _list_subscriptions(self, params: Object) -> Object:
        found = self.books.all("subscription")
        status = text(params, "status")
        if status is None:
            found = [one for one in found if one["status"] != "canceled"]
        elif status == "ended":
            found = [one for one in found if one["status"] in ("canceled", "incomplete_expired")]
        elif status != "all":
            found = [one for one in found if one["status"] == status]
        if (customer := text(params, "customer")) is not None:
            found = [one for one in found if one["customer"] == customer]
        if (price := text(params, "price")) is not None:
            found = [one for one in found if any(item["price"]["id"] == price for item in one["items"]["data"])]
        return paged("/v1/subscriptions", found, params)

    def _create_subscription(self, params: Object) -> Object:
        customer = self.books.get("customer", required(params, "customer"))
        lines = [(required(item, "price"), integer(item, "quantity") or 1) for item in sequence(params, "items")]
        if not lines:
            raise Refusal(400, "Missing required param: items.", param="items", code="parameter_missing")
        return self.books.new_subscription(customer["id"], lines, metadata(params))

    def _update_subscription(self, params: Object, key: str) -> Object:
        sub = self.books.get("subscription", key)
        changes: Object = {}
        ending = boolean(params, "cancel_at_period_end")
        if ending is not None:
            changes["cancel_at_period_end"] = ending
        if "metadata" in params:
            changes["metadata"] = metadata(params, sub["metadata"])
        given = sequence(params, "items")
        if given:
            items = [dict(item) for item in sub["items"]["data"]]
            for wanted in given:
                place = next((n for n, item in enumerate(items) if item["id"] == wanted.get("id")), None)
                if place is None:
                    raise Refusal(400, "The sandbox's stand-in changes items by their id only.", param="items")
                price = self.books.get("price", text(wanted, "price") or items[place]["price"]["id"])
                items[place]["price"], items[place]["plan"] = price, objects.plan_of(price)
                items[place]["quantity"] = integer(wanted, "quantity") or items[place]["quantity"]
            changes["items"] = {**sub["items"], "data": items}
        return self.books.update_subscription(key, changes)

    def _create_refund(self, params: Object) -> Object:
        charge = text(params, "charge")
        if charge is None:
            intent = required(params, "payment_intent")
            charge = next((one["id"] for one in self.books.all("charge") if one["payment_intent"] == intent), None)
            if charge is None:
                raise Refusal(404, f"No such payment_intent: '{intent}'", param="payment_intent", code="resource_missing")
        return self.books.refund(charge, integer(params, "amount"))

    def _create_portal(self, params: Object) -> Object:
        customer = self.books.get("customer", required(params, "customer"))
        key = self.books.key("bps")
        url = f"{request.host_url}stripe/portal/{key}"
        session = objects.portal_session(key, self.books.now(), customer["id"], text(params, "return_url"), url)
        return self.books.put("billing_portal.session", session)


def _refused(refused: Refusal) -> Response:
    return answer({"error": refused.body}, refused.status)


def _lines(params: Object, under: str = "") -> str:
    """Parameters as lines a person can read."""
    out = []
    for name, value in params.items():
        place = f"{under}.{name}" if under else str(name)
        if isinstance(value, list):
            value = {str(number): one for number, one in enumerate(value)}
        out.append(_lines(value, place) if isinstance(value, dict) else f"{place}: {value}")
    return "\n".join(out) or "(no parameters)"
