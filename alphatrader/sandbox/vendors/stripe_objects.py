"""Stripe's resources as API version 2026-10-28.endive has them: every field a client may look for, null where unused.

Pure builders: ids and instants (Unix seconds) are arguments. Here: what is sold and to whom, checkout, portal, events; what
is billed is in `stripe_billing.py`.
"""

from __future__ import annotations

from typing import Any

API_VERSION = "2026-10-28.endive"
Object = dict[str, Any]


def list_object(url: str, data: list[Object], *, has_more: bool = False) -> Object:
    return {"object": "list", "url": url, "has_more": has_more, "data": data}


def product(key: str, now: int, name: str, metadata: dict[str, str], description: str | None = None) -> Object:
    return {
        "id": key,
        "object": "product",
        "active": True,
        "created": now,
        "default_price": None,
        "description": description,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": metadata,
        "name": name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": now,
        "url": None,
    }


def price(key: str, now: int, product_id: str, cents: int, currency: str, interval: str | None, **more: Any) -> Object:
    recurring = None
    if interval is not None:
        count = int(more.pop("interval_count", 1))
        recurring = {
            "interval": interval,
            "interval_count": count,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        }
    return {
        "id": key,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": now,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": more.get("lookup_key"),
        "metadata": more.get("metadata", {}),
        "nickname": more.get("nickname"),
        "product": product_id,
        "recurring": recurring,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": cents,
        "unit_amount_decimal": str(cents),
    }


def plan_of(of: Object) -> Object:
    """The older Plan that items still carry beside their Price."""
    recurring = of["recurring"] or {}
    return {
        "id": of["id"],
        "object": "plan",
        "active": of["active"],
        "amount": of["unit_amount"],
        "amount_decimal": of["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": of["created"],
        "currency": of["currency"],
        "interval": recurring.get("interval"),
        "interval_count": recurring.get("interval_count"),
        "livemode": False,
        "metadata": of["metadata"],
        "meter": None,
        "nickname": of["nickname"],
        "product": of["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def customer(key: str, now: int, email: str | None, name: str | None, metadata: dict[str, str]) -> Object:
    return {
        "id": key,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": now,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": email,
        "invoice_prefix": f"SBX{abs(hash_of(key)) % 10_000:04d}",
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": metadata,
        "name": name,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def hash_of(text: str) -> int:
    """A number of a text that is the same in every process (Python's own hash is not)."""
    number = 7
    for letter in text:
        number = (number * 31 + ord(letter)) % 1_000_003
    return number


def checkout_session(key: str, now: int, url: str, **more: Any) -> Object:
    return {
        "id": key,
        "object": "checkout.session",
        "adaptive_pricing": None,
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": more["amount"],
        "amount_total": more["amount"],
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "branding_settings": None,
        "cancel_url": more["cancel_url"],
        "client_reference_id": more["client_reference_id"],
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": now,
        "currency": more["currency"],
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": more["customer"],
        "customer_account": None,
        "customer_creation": None if more["customer"] or more["mode"] == "subscription" else "if_required",
        "customer_details": None,
        "customer_email": more["customer_email"],
        "discounts": [],
        "expires_at": more["expires_at"],
        "invoice": None,
        "invoice_creation": None,
        "livemode": False,
        "locale": None,
        "metadata": more["metadata"],
        "mode": more["mode"],
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "always",
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "presentment_details": None,
        "recovered_from": None,
        "saved_payment_method_options": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": more["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": url,
        "wallet_options": None,
    }


def line_item(key: str, of: Object, quantity: int) -> Object:
    amount = of["unit_amount"] * quantity
    return {
        "id": key,
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": of["currency"],
        "description": of["nickname"] or of["id"],
        "price": of,
        "quantity": quantity,
    }


def portal_session(key: str, now: int, customer_id: str, return_url: str | None, url: str) -> Object:
    return {
        "id": key,
        "object": "billing_portal.session",
        "after_expiration": None,
        "configuration": "bpc_sandbox",
        "created": now,
        "customer": customer_id,
        "customer_account": None,
        "flow": None,
        "livemode": False,
        "locale": None,
        "on_behalf_of": None,
        "return_url": return_url,
        "url": url,
    }


def event(key: str, now: int, kind: str, of: Object, previous: Object | None, request: Object, *, pending: int) -> Object:
    data: Object = {"object": of}
    if previous is not None:
        data["previous_attributes"] = previous
    return {
        "id": key,
        "object": "event",
        "api_version": API_VERSION,
        "created": now,
        "data": data,
        "livemode": False,
        "pending_webhooks": pending,
        "request": request,
        "type": kind,
    }
