"""Stripe's resources of billing, as API version 2026-10-28.endive has them: subscriptions, invoices, charges, disputes.

Pure builders, as in `stripe_objects.py`. A subscription's period stands on its items; an invoice names its subscription under
`parent`, and its charge through an InvoicePayment and the payment intent.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime

from alphatrader.sandbox.vendors.stripe_objects import Object, list_object, plan_of

NO_ADDRESS = {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}


def subscription_item(key: str, now: int, subscription_id: str, of: Object, quantity: int, period: tuple[int, int]) -> Object:
    return {
        "id": key,
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": now,
        "current_period_end": period[1],
        "current_period_start": period[0],
        "current_trial": None,
        "discounts": [],
        "metadata": {},
        "plan": plan_of(of),
        "price": of,
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def subscription(key: str, now: int, customer_id: str, currency: str, items: list[Object], metadata: dict[str, str]) -> Object:
    return {
        "id": key,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": None, "type": "classic", "updated_at": None},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": now,
        "currency": currency,
        "customer": customer_id,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": list_object(f"/v1/subscription_items?subscription={key}", items),
        "latest_invoice": None,
        "livemode": False,
        "managed_payments": None,
        "metadata": metadata,
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now,
        "status": "active",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
    }


def invoice(key: str, now: int, sub: Object, reason: str, number: str, *, paid: bool, email: str | None) -> Object:
    items = sub["items"]["data"]
    total = sum(item["price"]["unit_amount"] * item["quantity"] for item in items)
    start, end = items[0]["current_period_start"], items[0]["current_period_end"]
    lines = [_invoice_line(f"il_{key[3:]}_{place}", key, sub["id"], item) for place, item in enumerate(items)]
    return {
        "id": key,
        "object": "invoice",
        "account_country": "US",
        "account_name": "AlphaTrader sandbox",
        "account_tax_ids": None,
        "amount_due": total,
        "amount_overpaid": 0,
        "amount_paid": total if paid else 0,
        "amount_remaining": 0 if paid else total,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 1,
        "attempted": True,
        "auto_advance": not paid,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None},
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": sub["currency"],
        "custom_fields": None,
        "customer": sub["customer"],
        "customer_account": None,
        "customer_address": None,
        "customer_email": email,
        "customer_name": None,
        "customer_phone": None,
        "customer_shipping": None,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": now,
        "ending_balance": 0,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": list_object(f"/v1/invoices/{key}/lines", lines),
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": None if paid else now + 3 * 86_400,
        "number": number,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {"metadata": sub["metadata"], "subscription": sub["id"]},
            "type": "subscription_details",
        },
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": end,
        "period_start": start,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "paid" if paid else "open",
        "status_transitions": {
            "finalized_at": now,
            "marked_uncollectible_at": None,
            "paid_at": now if paid else None,
            "voided_at": None,
        },
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "test_clock": None,
        "total": total,
        "total_discount_amounts": [],
        "total_excluding_tax": total,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": None,
    }


def _invoice_line(key: str, invoice_id: str, subscription_id: str, item: Object) -> Object:
    amount = item["price"]["unit_amount"] * item["quantity"]
    return {
        "id": key,
        "object": "line_item",
        "amount": amount,
        "currency": item["price"]["currency"],
        "description": item["price"]["nickname"] or item["price"]["id"],
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice_id,
        "livemode": False,
        "metadata": {},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": subscription_id,
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": item["price"]["id"], "product": item["price"]["product"]},
            "type": "price_details",
            "unit_amount_decimal": item["price"]["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "quantity_decimal": str(item["quantity"]),
        "subtotal": amount,
        "taxes": [],
    }


def charge(key: str, now: int, customer_id: str, cents: int, currency: str, intent: str, *, paid: bool) -> Object:
    return {
        "id": key,
        "object": "charge",
        "amount": cents,
        "amount_captured": cents if paid else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": {"address": NO_ADDRESS, "email": None, "name": None, "phone": None, "tax_id": None},
        "calculated_statement_descriptor": "ALPHATRADER SANDBOX",
        "captured": paid,
        "created": now,
        "currency": currency,
        "customer": customer_id,
        "description": "Subscription",
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None if paid else "card_declined",
        "failure_message": None if paid else "Your card was declined.",
        "fraud_details": {},
        "livemode": False,
        "metadata": {},
        "on_behalf_of": None,
        "outcome": None,
        "paid": paid,
        "payment_intent": intent,
        "payment_method": None,
        "payment_method_details": None,
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded" if paid else "failed",
        "transfer_data": None,
        "transfer_group": None,
    }


def invoice_payment(key: str, now: int, invoice_id: str, cents: int, currency: str, intent: str, *, paid: bool) -> Object:
    return {
        "id": key,
        "object": "invoice_payment",
        "amount_paid": cents if paid else None,
        "amount_requested": cents,
        "created": now,
        "currency": currency,
        "invoice": invoice_id,
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent, "type": "payment_intent"},
        "status": "paid" if paid else "open",
        "status_transitions": {"canceled_at": None, "paid_at": now if paid else None},
    }


def refund(key: str, now: int, of: Object, cents: int) -> Object:
    return {
        "id": key,
        "object": "refund",
        "amount": cents,
        "balance_transaction": None,
        "charge": of["id"],
        "created": now,
        "currency": of["currency"],
        "customer": of["customer"],
        "customer_account": None,
        "destination_details": {"card": {"type": "reversal"}, "type": "card"},
        "metadata": {},
        "payment_intent": of["payment_intent"],
        "payment_method": None,
        "pending_reason": None,
        "reason": "requested_by_customer",
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def dispute(key: str, now: int, of: Object) -> Object:
    evidence: Object = {
        "customer_email_address": None,
        "customer_name": None,
        "product_description": None,
        "uncategorized_text": None,
        "enhanced_evidence": {},
    }
    due = now + 7 * 86_400
    return {
        "id": key,
        "object": "dispute",
        "amount": of["amount"],
        "balance_transactions": [],
        "charge": of["id"],
        "created": now,
        "currency": of["currency"],
        "enhanced_eligibility_types": [],
        "evidence": evidence,
        "evidence_details": {
            "due_by": due,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": of["payment_intent"],
        "payment_method_details": None,
        "reason": "fraudulent",
        "status": "needs_response",
    }


def period_after(start: int, interval: str, count: int) -> int:
    """The end of a billing period that starts at `start` (UTC; the last day of a short month for a late start)."""
    days = {"day": 1, "week": 7}.get(interval)
    if days is not None:
        return start + days * count * 86_400
    moment = datetime.fromtimestamp(start, UTC)
    months = moment.month - 1 + count * (12 if interval == "year" else 1)
    year, month = moment.year + months // 12, months % 12 + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    return int(moment.replace(year=year, month=month, day=day).timestamp())
