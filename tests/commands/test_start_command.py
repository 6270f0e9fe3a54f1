"""`alphatrader start` does not start what cannot run, and says what is in the way; `.env` is read by every command alike."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from alphatrader.commands.start import obstacles
from alphatrader.contract.settings import Settings
from alphatrader.runtime import env_file
from alphatrader.runtime.settings import SettingsError, load
from tests.frame.test_presence import STAYING
from tests.frame.test_settings import as_nobody
from tests.support.servers import free_port
from tests.support.typed_commands import typed

PORTS = (
    "SERVERS__DATA__PORT", "SERVERS__STATE__PORT", "WEB__DASHBOARD_PORT", "WEB__PAGES_PORT", "WEB__FLOWER_PORT",
    "WATCHDOG__PROMETHEUS_PORT", "SANDBOX__HTTP_PORT",
)  # fmt: skip


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    free = {f"ALPHATRADER_{name}": str(free_port()) for name in PORTS}
    gateways = {"ALPHATRADER_SANDBOX__GATEWAY_PORTS": f"[{free_port()}, {free_port()}]"}
    return {**free, **gateways, "ALPHATRADER_DATA_DIR": str(tmp_path), "ALPHATRADER_LOG_DIR": str(tmp_path / "logs")}


def settings(environment: dict[str, str]) -> Settings:
    return load({"ALPHATRADER_MODE": "sandbox"} | environment)


def test_a_port_that_somebody_else_has_is_named_with_its_setting_and_nothing_is_started(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(environment["ALPHATRADER_SERVERS__STATE__PORT"]))) as held:
        port = held.getsockname()[1]
        answer = typed(["start"], dict(os.environ) | environment)
    assert answer.code == 1 and f"port {port} of 127.0.0.1 (servers.state): Address already in use" in answer.err
    assert "starts in" not in answer.out
    assert obstacles(settings(environment)) == []


def test_a_second_start_and_one_beside_a_leftover_are_refused(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    # given a line that lives on after the start that began it was killed
    command = [sys.executable, "-c", STAYING, str(folder)]
    line = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert line.stdout is not None and line.stdout.readline() == b"here\n"
    try:
        (told,) = refused(environment)
        assert f"(risk {line.pid})" in told and told.endswith(f"kill {line.pid}")
    finally:
        line.kill()
        line.communicate()
    # and a start that still runs: this process holds its lock from here on
    assert obstacles(settings(environment)) == []
    (told,) = refused(environment)
    assert "another `alphatrader start` runs in" in told and "kill" not in told


def test_a_data_folder_that_takes_no_file_is_named(environment: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders let nobody else in
        folder = Path(name) / "sandbox"
        folder.mkdir()
        for closed in (Path(name), folder):
            closed.chmod(0o555)
        here = settings(environment | {"ALPHATRADER_DATA_DIR": name})
        with as_nobody(), pytest.raises(SettingsError, match=r"data_dir: .*sandbox cannot be written: Permission denied"):
            obstacles(here)
        for closed in (Path(name), folder):
            closed.chmod(0o755)


def refused(environment: dict[str, str]) -> list[str]:
    answer = typed(["start"], dict(os.environ) | environment)
    assert answer.code == 1
    return answer.err.splitlines()


def test_every_command_reads_the_env_file_and_what_is_exported_wins(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# ours\nexport ALPHATRADER_MODE=paper\nSTRIPE_SECRET_KEY='sk#1 2'\nDISCORD_WEBHOOK=x\n")
    given = {k: v for k, v in os.environ.items() if k != "ALPHATRADER_MODE"} | environment | {"ALPHATRADER_ENV_FILE": str(file)}

    checks = {check["name"]: check for check in typed(["doctor", "--json"], given).json()["checks"]}

    assert checks["settings"]["detail"] == "valid, mode paper"
    assert "STRIPE_SECRET_KEY" not in checks["Stripe secrets"]["detail"], "it is set"
    assert checks[".env"] == {"name": ".env", "verdict": "note", "detail": "names that nobody reads: DISCORD_WEBHOOK"}
    assert typed(["doctor", "--json"], given | {"ALPHATRADER_MODE": "sandbox"}).json()["mode"] == "sandbox"
    file.write_text('A=1\nSTRIPE_SECRET_KEY="secret\n')
    broken = typed(["status"], given)
    assert broken.code == 2 and "line 2 is no NAME=value" in broken.err and "secret\n" not in broken.err


def test_values_stand_as_they_are_written_and_lines_that_say_nothing_are_errors(tmp_path: Path) -> None:
    file = tmp_path / "env"
    good = {
        "": {}, "\n# A=1\n \n": {}, "A=": {"A": ""}, "A=b#c": {"A": "b#c"}, "A=b # c": {"A": "b"}, "A= # c": {"A": ""},
        "A=x=y": {"A": "x=y"}, "A='it''s # 1'": {"A": "it''s # 1"}, 'A="$B \\n"  # c': {"A": "$B \\n"}, 
        "\ufeffA=1\r\nB=2": {"A": "1", "B": "2"},
        "A=a b": {"A": "a b"}, "  export A=1": {"A": "1"},
    }  # fmt: skip
    for text, values in good.items():
        file.write_text(text, "utf-8")
        assert env_file.read(file) == values, text
    for text in ("A", "A B=1", "1A=2", "A='x", 'A=x\nA="', "=1", "A =1", "A=1\nA=2"):
        file.write_text(text)
        with pytest.raises(SettingsError, match=r"env: line \d"):
            env_file.read(file)
    file.write_bytes(b"A=\xff")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        env_file.read(file)
    assert env_file.read(tmp_path / "none") == {}
