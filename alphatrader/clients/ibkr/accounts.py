"""Which account a mode may use: the last wall between the sandbox, paper trading and real money."""

from __future__ import annotations

from collections.abc import Sequence

from alphatrader.contract.settings import Mode

STAND_IN = "DUSIM"
PAPER = "DU"


class AccountRefusedError(RuntimeError):
    """The gateway's account is not one this mode may touch. No retry mends it: a setting or a login must change."""


def choose_account(mode: Mode, wanted: str, managed: Sequence[str]) -> str:
    """The account to use: `wanted`, or the gateway's only one. Raises AccountRefusedError, naming what is wrong."""
    if wanted:
        if wanted not in managed:
            raise AccountRefusedError(f"broker.account {wanted} is not one of the gateway's: {', '.join(managed) or 'none'}")
        account = wanted
    elif len(managed) == 1:
        account = managed[0]
    else:
        raise AccountRefusedError(f"the gateway manages {', '.join(managed) or 'no account'}: name one in broker.account")
    _check(mode, account)
    return account


def _check(mode: Mode, account: str) -> None:
    if mode == "sandbox" and not account.startswith(STAND_IN):
        raise AccountRefusedError(f"mode sandbox accepts only the stand-in's {STAND_IN}... account, the gateway has {account}")
    if mode == "paper" and (not account.startswith(PAPER) or account.startswith(STAND_IN)):
        raise AccountRefusedError(f"mode paper accepts only an IBKR paper account ({PAPER}...), the gateway has {account}")
    if mode == "live" and account.startswith(PAPER):
        raise AccountRefusedError(f"mode live refuses paper accounts ({PAPER}...), the gateway has {account}")
