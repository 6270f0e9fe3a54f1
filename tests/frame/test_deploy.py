"""The units of a machine of its own are the Procfile's lines, and leave them the time and the folders they need."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from alphatrader.contract.modules import Module
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.parent import CLIENTS_SECONDS, LEAVE_SECONDS
from alphatrader.runtime.settings import load

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
HOME = Path("/opt/alphatrader")


def service() -> ConfigParser:
    unit = ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((DEPLOY / "alphatrader@.service").read_text())
    return unit


def test_the_target_wants_every_line_of_the_procfile_but_the_stand_ins() -> None:
    wanted = re.findall(r"alphatrader@(\w+)\.service", (DEPLOY / "alphatrader.target").read_text())
    real = [str(line.module) for line in AlphaTrader.LINES if {"paper", "live"} <= set(line.modes)]
    assert wanted == real
    lines = [line.partition(":")[0] for line in (ROOT / "Procfile").read_text().splitlines()]
    assert set(lines) - set(wanted) == {str(Module.SANDBOX)}


def test_a_unit_runs_what_the_procfile_runs() -> None:
    commands = {line.partition(": exec ")[2] for line in (ROOT / "Procfile").read_text().splitlines()}
    start = service()["Service"]["ExecStart"]
    assert {start.replace(f"{HOME}/.venv/bin/", "").replace("%i", str(line.module)) for line in AlphaTrader.LINES} == commands


def test_a_unit_may_write_where_the_settings_keep_data_and_logs_and_nowhere_else() -> None:
    unit = service()["Service"]
    settings = load()
    assert unit["ProtectSystem"] == "strict"
    assert unit["ReadWritePaths"].split() == [str(HOME / settings.data_dir), str(HOME / settings.log_dir)]


def test_systemd_waits_longer_than_a_parent_does_before_it_kills() -> None:
    unit = service()["Service"]
    assert unit["KillMode"] == "mixed"  # the parent alone is told; it tells its module
    assert float(unit["TimeoutStopSec"]) > CLIENTS_SECONDS + LEAVE_SECONDS


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed: its check is left out")
def test_systemd_finds_nothing_to_mend(tmp_path: Path) -> None:
    for unit in ("alphatrader@.service", "alphatrader.target"):
        (tmp_path / unit).write_text((DEPLOY / unit).read_text().replace(f"{HOME}/.venv/bin/alphatrader run", "/bin/true"))
    command = ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, "")
