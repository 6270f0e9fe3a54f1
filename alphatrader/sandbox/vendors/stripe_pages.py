"""The pages of the Stripe stand-in that people see, and the calls that only the sandbox has.

GET  /stripe/checkout/{session}            the checkout page; its button pays and goes to success_url
GET  /stripe/portal/{session}              the customer portal: end, keep, change of plan
POST /stripe/sandbox/pay/{session}         {email?}: pay without the page; answers the session
POST /stripe/sandbox/webhooks              how deliveries behave (see `stripe_webhooks.py`)
POST /stripe/sandbox/deliver/{event}       deliver an event once more
POST /stripe/sandbox/{subscription}/{what} cancel, cancel_at_period_end, keep, refund, dispute, dispute_won, dispute_lost,
                                           past_due, unpaid, recover, renew, period_end; answers the subscription
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request

from alphatrader.sandbox.vendors import stripe_objects as objects
from alphatrader.sandbox.vendors.exchange import answer
from alphatrader.sandbox.vendors.stripe_books import Books, period_end
from alphatrader.sandbox.vendors.stripe_forms import Refusal
from alphatrader.sandbox.vendors.stripe_objects import Object

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
}


def add_pages(routes: Blueprint, books: Books) -> None:
    pages, calls = _Pages(books), _SandboxCalls(books)
    routes.add_url_rule("/checkout/<session>", view_func=pages.checkout)
    routes.add_url_rule("/checkout/<session>/pay", view_func=pages.pay, methods=["POST"])
    routes.add_url_rule("/portal/<session>", view_func=pages.portal)
    routes.add_url_rule("/portal/<session>/<subscription>", view_func=pages.portal_act, methods=["POST"])
    routes.add_url_rule("/sandbox/pay/<session>", "sandbox_pay", calls.pay, methods=["POST"])
    routes.add_url_rule("/sandbox/webhooks", view_func=calls.behave, methods=["POST"])
    routes.add_url_rule("/sandbox/deliver/<event>", view_func=calls.deliver, methods=["POST"])
    routes.add_url_rule("/sandbox/<subscription>/<what>", view_func=calls.happen, methods=["POST"])


class _Pages:
    """What a buyer's browser shows."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def checkout(self, session: str) -> Any:
        held = self._books.kept("checkout.session", session)
        if held is None:
            return _page("stripe_message.html", 404, title="No such checkout", text="This checkout session does not exist.")
        if held["status"] == "complete":
            return redirect(_success(held))
        if held["status"] == "expired":
            return _page(
                "stripe_message.html", 410, title="Expired", text="This checkout session has expired.", back=held["cancel_url"]
            )
        lines = (self._books.kept("checkout.more", session) or {}).get("line_items", [])
        shown = [self._line(line) for line in lines]
        return _page("stripe_checkout.html", 200, session=held, lines=shown, total=_money(held["amount_total"]))

    def pay(self, session: str) -> Any:
        try:
            return redirect(_success(self._books.pay_session(session, request.form.get("email"))), 303)
        except Refusal as refused:
            return _page("stripe_message.html", refused.status, title="Not paid", text=str(refused))

    def portal(self, session: str) -> Any:
        held = self._books.kept("billing_portal.session", session)
        if held is None:
            return _page("stripe_message.html", 404, title="No such portal session", text="This portal session does not exist.")
        mine = [one for one in self._books.all("subscription") if one["customer"] == held["customer"]]
        prices = [self._offer(price) for price in self._books.all("price") if price["active"] and price["recurring"]]
        return _page("stripe_portal.html", 200, session=held, subscriptions=[self._state(one) for one in mine], prices=prices)

    def portal_act(self, session: str, subscription: str) -> Any:
        try:
            self._change(session, subscription, request.form.get("what", ""), request.form.get("price", ""))
        except Refusal as refused:
            return _page("stripe_message.html", refused.status, title="Not done", text=str(refused))
        return redirect(f"/stripe/portal/{session}", 303)

    def _change(self, session: str, subscription: str, what: str, price: str) -> None:
        """What the portal's customer chose. Raises Refusal."""
        held = self._books.kept("billing_portal.session", session)
        sub = self._books.get("subscription", subscription)
        if held is None or sub["customer"] != held["customer"]:
            raise Refusal(404, "This subscription is not this customer's.")
        match what:
            case "cancel_at_period_end" | "keep":
                self._books.update_subscription(subscription, {"cancel_at_period_end": what != "keep"})
            case "switch":
                item = dict(sub["items"]["data"][0])
                item["price"] = self._books.get("price", price)
                item["plan"] = objects.plan_of(item["price"])
                items = {**sub["items"], "data": [item, *sub["items"]["data"][1:]]}
                self._books.update_subscription(subscription, {"items": items})
            case _:
                raise Refusal(400, "The portal can end, keep or switch a subscription.")

    def _line(self, line: Object) -> Object:
        product = self._books.kept("product", line["price"]["product"]) or {"name": line["price"]["id"]}
        return {"name": product["name"], "amount": _money(line["amount_total"]), "every": line["price"]["recurring"]["interval"]}

    def _offer(self, price: Object) -> Object:
        product = self._books.kept("product", price["product"]) or {"name": price["id"]}
        return {"id": price["id"], "name": product["name"], "amount": _money(price["unit_amount"])}

    def _state(self, sub: Object) -> Object:
        ends = datetime.fromtimestamp(period_end(sub), UTC)
        offer = self._offer(sub["items"]["data"][0]["price"])
        return {
            "id": sub["id"],
            "status": sub["status"],
            "ending": sub["cancel_at_period_end"],
            "ends": f"{ends:%d %B %Y}",
            "price": offer["id"],
            "name": offer["name"],
            "amount": offer["amount"],
        }


class _SandboxCalls:
    """What no Stripe account has: the test's or the operator's hand on the books."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._happenings: dict[str, Callable[[str], Any]] = {
            "cancel": books.cancel,
            "cancel_at_period_end": lambda key: books.update_subscription(key, {"cancel_at_period_end": True}),
            "keep": lambda key: books.update_subscription(key, {"cancel_at_period_end": False}),
            "refund": lambda key: books.refund(books.latest_charge(key)),
            "dispute": lambda key: books.dispute(books.latest_charge(key)),
            "dispute_won": lambda key: books.close_dispute(books.latest_charge(key), won=True),
            "dispute_lost": lambda key: books.close_dispute(books.latest_charge(key), won=False),
            "past_due": lambda key: books.renew(key, paid=False),
            "unpaid": lambda key: books.set_status(key, "unpaid"),
            "recover": books.recover,
            "renew": books.renew,
            "period_end": books.end_period_now,
        }

    def pay(self, session: str) -> Response:
        body = request.get_json(silent=True)
        return _answered(lambda: self._books.pay_session(session, (body or {}).get("email")))

    def behave(self) -> Response:
        body = request.get_json(silent=True)
        if not isinstance(body, dict):
            return answer({"error": "the body must be a JSON object"}, 400)
        try:
            return answer(self._books.webhooks.behave(body))
        except ValueError as error:
            return answer({"error": str(error)}, 400)

    def deliver(self, event: str) -> Response:
        def again() -> Object:
            held = self._books.get("event", event)
            with self._books.change():
                self._books.webhooks.queue(event)
            return held

        return _answered(again)

    def happen(self, subscription: str, what: str) -> Response:
        act = self._happenings.get(what)
        if act is None:
            return answer({"error": f"what: {what} is none of {', '.join(self._happenings)}"}, 400)

        def happened() -> Object:
            self._books.get("subscription", subscription)
            act(subscription)
            return self._books.get("subscription", subscription)

        return _answered(happened)


def _success(session: Object) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _money(cents: int) -> str:
    return f"${cents / 100:,.2f}"


def _answered(act: Callable[[], Object]) -> Response:
    try:
        return answer(act())
    except Refusal as refused:
        return answer({"error": refused.body}, refused.status)


def _page(template: str, status: int, **fields: Any) -> Response:
    headers = {"Content-Type": "text/html; charset=utf-8", **PAGE_HEADERS}
    return Response(render_template(template, **fields), status, headers)
