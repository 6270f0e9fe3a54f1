"""A bad setting is named with its place and what is allowed; secrets reach only those who declare them."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from alphatrader.contract.modules import Module
from alphatrader.contract.settings.secrets import SECRETS
from alphatrader.runtime.parent import child_environment
from alphatrader.runtime.secrets import SecretMissingError, Secrets, Vault
from alphatrader.runtime.settings import ROOT, SettingsError, load


def test_the_delivered_file_is_whole_in_every_mode() -> None:
    for mode in ("sandbox", "paper", "live"):
        assert load({"ALPHATRADER_MODE": mode}).mode == mode


def test_a_profile_refers_to_other_settings() -> None:
    settings = load({"ALPHATRADER_SANDBOX__HTTP_PORT": "9123", "ALPHATRADER_SANDBOX__GATEWAY_PORTS": "[7001, 7002]"})
    assert settings.options.base_url == "http://127.0.0.1:9123/alphavantage"
    assert [gateway.port for gateway in settings.broker.gateways] == [7001, 7002]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALPHATRADER_RISK__MAX_POSITIONS", "0", r"environment ALPHATRADER_RISK__MAX_POSITIONS: risk.max_positions: .*>= 1"),
        ("ALPHATRADER_RISK__MAX_POSITIONS", "many", r"risk.max_positions: Expected `int`, got `str`"),
        ("ALPHATRADER_DISTRIBUTION__BASIC_DELAY_SECONDS", "59", r"distribution.basic_delay_seconds: .*>= 60"),
        ("ALPHATRADER_RISK__MAX_POSITION", "3", r"risk.*unknown field `max_position`"),
        ("ALPHATRADER_SANDBOX__ACCOUNT", "DU123", r"sandbox.account: .*\^DUSIM"),
        ("ALPHATRADER_ANALYTICS__SHARDS", "90", r"analytics.shards: 90 processes cannot share \d+ symbols"),
        ("ALPHATRADER_MODE", "demo", r"mode: Invalid enum value 'demo'"),
    ],
)
def test_a_bad_value_is_named_with_its_place_and_what_is_allowed(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load({variable: value})


def test_text_that_looks_like_a_number_stays_text() -> None:
    assert load({"ALPHATRADER_VENDORS__TELEGRAM_PUBLIC_CHANNEL": "-100123"}).vendors.telegram_public_channel == "-100123"


def test_a_missing_section_and_a_broken_file_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "config.yaml"
    broken.write_text("mode: [")
    with pytest.raises(SettingsError, match=r"config\.yaml: is not YAML"):
        load({}, broken)
    broken.write_text("mode: sandbox\n")
    with pytest.raises(SettingsError, match="missing required field"):
        load({}, broken)
    with pytest.raises(SettingsError, match="cannot be read"):
        load({}, tmp_path / "absent.yaml")


def test_made_secrets_stand_in_a_closed_file_and_stay_the_same(tmp_path: Path) -> None:
    first, second = Vault(tmp_path, "sandbox", {}), Vault(tmp_path, "sandbox", {})
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert first.redis_password(Module.RISK) == second.redis_password(Module.RISK)
    assert first.redis_password(Module.RISK) != first.redis_password(Module.IBKR)


def test_outside_the_sandbox_vendors_secrets_come_only_from_the_environment(tmp_path: Path) -> None:
    assert Vault(tmp_path, "paper", {}).get("stripe_key") is None
    assert Vault(tmp_path, "paper", {"STRIPE_SECRET_KEY": "sk_test_x"}).get("stripe_key") == "sk_test_x"


def test_a_module_gets_the_secrets_it_declares_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in SECRETS:
        monkeypatch.setenv(secret.variable, f"canary-{secret.name}")
    vault = Vault(tmp_path, "sandbox")
    for module in Module:
        given = child_environment(module, vault)
        seen = {secret.name for secret in SECRETS if secret.variable in given}
        assert seen == {secret.name for secret in SECRETS if module in secret.modules}, module


def test_a_secret_that_is_needed_and_missing_is_named_with_its_variable() -> None:
    with pytest.raises(SecretMissingError, match="set STRIPE_SECRET_KEY in the environment"):
        Secrets(Module.PAGES, {}).require("stripe_key")
    with pytest.raises(KeyError):
        Secrets(Module.PAGES, {}).get("telegram_token")


def test_no_secret_stands_in_the_repositorys_settings() -> None:
    text = (ROOT / "config" / "config.yaml").read_text().lower()
    assert not re.search(r"\b(sk|rk)_|whsec|password:|token:|api_key:", text)
