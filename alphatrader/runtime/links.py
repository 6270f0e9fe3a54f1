"""Links that one process signs and another checks with `session_key`: a salt for each kind, so that none opens another's door."""

from __future__ import annotations

from typing import Final

from itsdangerous import URLSafeTimedSerializer

LOGIN_SECONDS: Final = 600
VISITOR_SECONDS: Final = 86_400


def login_links(session_key: str) -> URLSafeTimedSerializer:
    """To the dashboard, once, within `LOGIN_SECONDS`: signed by `alphatrader login`, over a random word."""
    return URLSafeTimedSerializer(session_key, salt="dashboard-login-link")


def visitor_links(session_key: str) -> URLSafeTimedSerializer:
    """To the subscribers' pages, within `VISITOR_SECONDS`: signed by the Telegram bot, over the user's id."""
    return URLSafeTimedSerializer(session_key, salt="telegram-link")
