"""A bad setting is named with its place and what is allowed; secrets reach only those who declare them."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alphatrader.contract.modules import Module
from alphatrader.contract.settings.secrets import SECRETS
from alphatrader.runtime.parent import child_environment
from alphatrader.runtime.secrets import SecretMissingError, Secrets, Vault
from alphatrader.runtime.settings import ROOT, SettingsError, data_path, load, log_path


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
        ("ALPHATRADER_MODE", "demo", r"environment ALPHATRADER_MODE: mode: .* 'demo', allowed are live, paper, sandbox"),
        ("ALPHATRADER_LOG__LEVEL", "loud", r"log.level: .* 'loud', allowed are debug, error, info, warning"),
        ("ALPHATRADER_FOO", "3", r"^environment ALPHATRADER_FOO: .*unknown field `foo`"),
        ("ALPHATRADER_RISK__FOO__BAR", "3", r"^environment ALPHATRADER_RISK__FOO__BAR: risk: .*unknown field `foo`"),
        ("ALPHATRADER_VENDORS__TELEGRAM_OPERATORS", "[abc]", r"^environment ALPHATRADER_VENDORS__TELEGRAM_OPERATORS: .*`int`"),
    ],
)
def test_a_bad_value_is_named_with_its_place_and_what_is_allowed(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load({variable: value})


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RISK__DAILY_LOSS_USD", ".inf", "risk.daily_loss_usd: .*<= 1000000000"),
        ("RISK__MAX_DRAWDOWN_SHARE", ".nan", "risk.max_drawdown_share"),
        ("ORDERS__MAX_NOTIONAL_USD", ".inf", "orders.max_notional_usd"),
        ("POSITIONS__FLAT_BY", "25:99", "positions.flat_by: .*matching regex"),
        ("POSITIONS__FLAT_BY", "16:30", "positions: flat_by: 16:30 is not between 09:30 and 16:00"),
        ("STRATEGIES__ZERO_DTE__CLOSES", "09:00", "strategies.zero_dte: closes: 09:00 is not after opens, 09:45"),
        ("STRATEGIES__ZERO_DTE__WEIGHTS", "{flo: 1}", "weights: no such feature: flo; there are book, flow"),
        ("STRATEGIES__ZERO_DTE__WEIGHTS", "{flow: .nan}", "weights: flow is nan"),
        ("STRATEGIES__ZERO_DTE__WEIGHTS", "{flow: 1, book: -0.99}", "weights: book is -0.99"),
        ("STRATEGIES__ZERO_DTE__COOLDOWN_SECONDS", "-5", "cooldown_seconds: .*>= 0"),
        ("SIGNALS__TARGET_DELTA", "0.9", "target_delta: 0.9, not between min_delta 0.3 and max_delta 0.55"),
        ("SIGNALS__TARGET_ATR", "[4, 2]", r"target_atr: \[4.0, 2.0\] must rise"),
        ("SIGNALS__TARGET_ATR", "[.nan]", "target_atr"),
        ("DISTRIBUTION__BASIC_DELAY_SECONDS", "600", "basic_delay_seconds: 600, but who pays nothing is told after 300"),
        ("DISTRIBUTION__FREE_DELAY_SECONDS", ".inf", "free_delay_seconds: .*<= 86400"),
        ("BROKER__EMERGENCY_CLIENT_ID", "12", r"emergency_client_id: \(11, 12, 12\), each must be another"),
        ("WEB__PAGES_PORT", "8000", "web.pages_port: port 8000 is that of web.dashboard_port"),
        ("SERVERS__STATE__PORT", "6390", "servers.state: port 6390 is that of servers.data"),
        ("SANDBOX__HTTP_PORT", "4502", "sandbox.http_port: port 4502 is that of sandbox.gateway_ports.0"),
        ("MARKET__EQUITIES", "[SPY, QQQ, IWM, VXX, SPY]", "equities: more than once: SPY"),
        ("MARKET__EQUITIES", "['SPY', 'a:b']", "market.equities.*regex"),
        ("MARKET__QUIET_SECONDS_BY_SYMBOL", "{SPY: -1}", "quiet_seconds_by_symbol"),
        ("SANDBOX__START", "tomorrow", "sandbox.start: .*regex"),
        ("ROUTINES__MORNING", "77:77", "routines.morning: .*regex"),
        ("VENDORS__STRIPE_URL", "stripe", "vendors.stripe_url: .*regex"),
        ("WATCHDOG__PING_URL", "notaurl", "watchdog.ping_url: .*regex"),
    ],
)
def test_a_value_that_would_open_a_gate_or_end_a_module_later_is_refused_at_the_start(
    variable: str, value: str, said: str
) -> None:
    """Each of these was once accepted: no limit at all, an hour that is none, two listeners at one port, a delay turned round."""
    with pytest.raises(SettingsError, match=said):
        load({f"ALPHATRADER_{variable}": value})


def test_following_fewer_symbols_needs_no_other_change_than_the_pinned_ones() -> None:
    few = load({"ALPHATRADER_MARKET__EQUITIES": "[AAPL]", "ALPHATRADER_MARKET__PINNED": "[]"})
    assert few.market.equities == ("AAPL",)


def test_servers_of_two_machines_may_have_one_port() -> None:
    settings = load({"ALPHATRADER_SERVERS__DATA__HOST": "10.0.0.5", "ALPHATRADER_SERVERS__DATA__PORT": "6391"})
    assert settings.servers.data.port == settings.servers.state.port


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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfem\x00", r"config\.yaml: is not UTF-8 text: .* at byte 0"),
        (b"risk:\n  max_positions: 1\nmode: paper\nrisk: {}\n", r"config\.yaml: .*'risk' stands 2 times"),
        (b"risk: {max_positions: 1, max_positions: 9}\n", r"'max_positions' stands 2 times"),
        (b"profiles: 3\n", r"config\.yaml: profiles: must be a map of modes"),
        (b"profiles: {papre: {}}\n", r"profiles\.papre: there is no such mode, allowed are sandbox, paper, live"),
        (b"profiles: {paper: 3}\n", r"profiles\.paper: must be a map of sections"),
        (b"1: 2\n", r"config\.yaml: the file: "),
        (b"data_dir: ${mode.x}\n", r"\$\{mode\.x\}: there is no such setting"),
        (b"data_dir: ${market.equities.first}\n", r"\$\{market\.equities\.first\}: there is no such setting"),
    ],
)
def test_a_file_that_would_be_half_read_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    """Given a name that stands twice or a profile of no mode, then nothing starts with limits that nobody sees are gone."""
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=re.compile(said, re.DOTALL)):
        load({}, file)


def test_a_section_and_a_field_of_it_may_both_stand_in_the_environment_where_they_agree() -> None:
    whole = {"ALPHATRADER_RISK__MAX_POSITIONS": "3", "ALPHATRADER_RISK": "{max_positions_per_symbol: 1}"}
    risk = load(whole).risk
    assert (risk.max_positions, risk.max_positions_per_symbol) == (3, 1)
    with pytest.raises(SettingsError, match="environment ALPHATRADER_RISK__MAX_POSITIONS: risk is given as a whole too"):
        load(whole | {"ALPHATRADER_RISK": "3"})


def test_a_folder_that_cannot_be_made_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = load({"ALPHATRADER_DATA_DIR": str(tmp_path / "file"), "ALPHATRADER_LOG_DIR": str(tmp_path / "file")})
    for setting, make in (("data_dir", data_path), ("log_dir", log_path)):
        with pytest.raises(SettingsError, match=f"{setting}: .*file/sandbox cannot be made: Not a directory"):
            make(settings)


def test_made_secrets_stand_in_a_closed_file_and_stay_the_same(tmp_path: Path) -> None:
    first, second = Vault(tmp_path, "sandbox", {}), Vault(tmp_path, "sandbox", {})
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert first.redis_password(Module.RISK) == second.redis_password(Module.RISK)
    assert first.redis_password(Module.RISK) != first.redis_password(Module.IBKR)


def test_a_damaged_file_of_secrets_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    """Given a file that a crash left half-written, then no new passwords are made that the servers do not know."""
    Vault(tmp_path, "sandbox", {})
    file = tmp_path / "secrets.json"
    for damaged in (file.read_text()[:100], "[]", '{"redis.risk": 3}'):
        file.write_text(damaged)
        with pytest.raises(SettingsError, match=r"secrets\.json: is damaged: put back a copy"):
            Vault(tmp_path, "sandbox", {})
        assert file.read_text() == damaged


def test_secrets_that_cannot_be_written_are_read_and_asked_for_where_there_are_none() -> None:
    """Given a file of another owner, or a disk that takes nothing any more, then a halt still has its password."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kept = Vault(folder, "sandbox", {}).redis_password(Module.CLI)
        (folder / "secrets.json").chmod(0o444)
        (folder / "empty").mkdir()
        for closed in (folder, folder / "empty"):
            closed.chmod(0o555)
        with as_nobody():
            assert Vault(folder, "sandbox", {}).redis_password(Module.CLI) == kept
            with pytest.raises(SettingsError, match=r"empty/secrets\.json: secrets cannot be kept there: Permission denied"):
                Vault(folder / "empty", "sandbox", {})
        for closed in (folder, folder / "empty"):
            closed.chmod(0o755)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to write everywhere, where the tests have it."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


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
