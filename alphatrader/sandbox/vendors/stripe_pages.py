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
    happenings: dict[str, Callable[[str], Any]] = {
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

    @routes.get("/checkout/<session>")
    def checkout_page(session: str) -> Any:
        held, lines = _session(session)
        if held is None:
            return _page("stripe_message.html", 404, title="No such checkout", text="This checkout session does not exist.")
        if held["status"] == "complete":
            return redirect(_success(held))
        if held["status"] == "expired":
            return _page(
                "stripe_message.html", 410, title="Expired", text="This checkout session has expired.", back=held["cancel_url"]
            )
        return _page(
            "stripe_checkout.html", 200, session=held, lines=[_shown(line) for line in lines], total=_money(held["amount_total"])
        )

    @routes.post("/checkout/<session>/pay")
    def pay_page(session: str) -> Any:
        try:
            return redirect(_success(books.pay_session(session, request.form.get("email"))), 303)
        except Refusal as refused:
            return _page("stripe_message.html", refused.status, title="Not paid", text=str(refused))

    @routes.post("/sandbox/pay/<session>")
    def pay(session: str) -> Response:
        body = request.get_json(silent=True)
        return _answered(lambda: books.pay_session(session, (body or {}).get("email")))

    @routes.post("/sandbox/webhooks")
    def behave() -> Response:
        body = request.get_json(silent=True)
        if not isinstance(body, dict):
            return answer({"error": "the body must be a JSON object"}, 400)
        try:
            return answer(books.webhooks.behave(body))
        except ValueError as error:
            return answer({"error": str(error)}, 400)

    @routes.post("/sandbox/deliver/<event>")
    def deliver(event: str) -> Response:
        def again() -> Object:
            held = books.get("event", event)
            with books.change():
                books.webhooks.queue(event)
            return held

        return _answered(again)

    @routes.post("/sandbox/<subscription>/<what>")
    def happen(subscription: str, what: str) -> Response:
        act = happenings.get(what)
        if act is None:
            return answer({"error": f"what: {what} is none of {', '.join(happenings)}"}, 400)

        def happened() -> Object:
            books.get("subscription", subscription)
            act(subscription)
            return books.get("subscription", subscription)

        return _answered(happened)

    @routes.get("/portal/<session>")
    def portal_page(session: str) -> Any:
        held = books.kept("billing_portal.session", session)
        if held is None:
            return _page("stripe_message.html", 404, title="No such portal session", text="This portal session does not exist.")
        mine = [one for one in books.all("subscription") if one["customer"] == held["customer"]]
        prices = [_offer(price) for price in books.all("price") if price["active"] and price["recurring"]]
        return _page("stripe_portal.html", 200, session=held, subscriptions=[_state(one) for one in mine], prices=prices)

    @routes.post("/portal/<session>/<subscription>")
    def portal_act(session: str, subscription: str) -> Any:
        held = books.kept("billing_portal.session", session)
        what, price = request.form.get("what", ""), request.form.get("price", "")
        try:
            sub = books.get("subscription", subscription)
            if held is None or sub["customer"] != held["customer"]:
                raise Refusal(404, "This subscription is not this customer's.")
            if what in ("cancel_at_period_end", "keep"):
                happenings[what](subscription)
            elif what == "switch":
                item = dict(sub["items"]["data"][0])
                item["price"] = books.get("price", price)
                item["plan"] = objects.plan_of(item["price"])
                books.update_subscription(subscription, {"items": {**sub["items"], "data": [item, *sub["items"]["data"][1:]]}})
            else:
                raise Refusal(400, "The portal can end, keep or switch a subscription.")
        except Refusal as refused:
            return _page("stripe_message.html", refused.status, title="Not done", text=str(refused))
        return redirect(f"/stripe/portal/{session}", 303)

    def _session(key: str) -> tuple[Object | None, list[Object]]:
        return books.kept("checkout.session", key), (books.kept("checkout.more", key) or {}).get("line_items", [])

    def _shown(line: Object) -> Object:
        product = books.kept("product", line["price"]["product"]) or {"name": line["price"]["id"]}
        return {"name": product["name"], "amount": _money(line["amount_total"]), "every": line["price"]["recurring"]["interval"]}

    def _offer(price: Object) -> Object:
        product = books.kept("product", price["product"]) or {"name": price["id"]}
        return {"id": price["id"], "name": product["name"], "amount": _money(price["unit_amount"])}

    def _state(sub: Object) -> Object:
        ends = datetime.fromtimestamp(period_end(sub), UTC)
        offer = _offer(sub["items"]["data"][0]["price"])
        return {
            "id": sub["id"],
            "status": sub["status"],
            "ending": sub["cancel_at_period_end"],
            "ends": f"{ends:%d %B %Y}",
            "price": offer["id"],
            "name": offer["name"],
            "amount": offer["amount"],
        }


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
