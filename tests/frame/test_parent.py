"""The parent: restarts what dies, forwards one SIGTERM, sleeps where there is nothing to do, and refuses live money ungated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from alphatrader.contract.modules import Module
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.parent import Parent, live_refused
from alphatrader.runtime.settings import ROOT, data_path, load
from tests.support.servers import Servers


def parent(environment: dict[str, str], module: str, output: Path) -> subprocess.Popen[bytes]:
    program = "from alphatrader.cli import main; main()"
    command = [sys.executable, "-c", program, "run", module]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, cwd=ROOT, stdout=output.open("wb"), stderr=subprocess.STDOUT
    )


def wait_for_text(output: Path, text: str, seconds: float = 20.0) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = output.read_text()
        if text in found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{text!r} was not said within {seconds:g} s: {output.read_text()}")


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def test_a_killed_child_is_started_again_and_one_sigterm_ends_both(servers: Servers, tmp_path: Path) -> None:
    output = tmp_path / "out"
    paper = {**servers.environment, "ALPHATRADER_DATA_DIR": str(tmp_path / "data"), "ALPHATRADER_MODE": "paper"}
    process = parent(paper, "redis", output)  # its port is taken: the child ends by itself, again and again
    try:
        wait_for_text(output, "starts again in 1 s")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert output.read_text().count("starts again in 0.5 s") == 1


def test_a_server_is_started_again_when_killed_and_stopped_when_told(tmp_path: Path) -> None:
    from tests.support.servers import free_port

    output = tmp_path / "out"
    environment = {
        "ALPHATRADER_DATA_DIR": str(tmp_path / "data"),
        "ALPHATRADER_SERVERS__DATA__PORT": str(free_port()),
    }
    process = parent(environment, "redis", output)
    try:
        wait_for_text(output, "answers")
        [first] = children(process)
        first.kill()
        wait_for_text(output, "SIGKILL; starts again")
        until = time.monotonic() + 20
        while output.read_text().count("answers") < 2 and time.monotonic() < until:
            time.sleep(0.05)
        [second] = children(process)
        assert second.pid != first.pid
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not second.is_running()


def test_a_line_without_work_in_this_mode_says_so_and_sleeps(tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = parent({"ALPHATRADER_MODE": "paper", "ALPHATRADER_DATA_DIR": str(tmp_path)}, "sandbox", output)
    try:
        wait_for_text(output, "nothing to do in paper mode; sleeping")
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_bad_setting_and_an_unknown_module_end_it_with_their_name(tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert parent({"ALPHATRADER_RISK__MAX_POSITIONS": "0"}, "risk", output).wait(20) == 2
    assert "ALPHATRADER_RISK__MAX_POSITIONS: risk.max_positions" in output.read_text()
    assert parent({}, "rsik", output).wait(20) == 2
    assert "no module 'rsik'" in output.read_text()


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (None, "has no verdict"),
        ("{", "cannot be read"),
        ('{"gate": {}}', "cannot be read"),
        (json.dumps({"gate": {"met": False}}), "is not met"),
        (json.dumps({"gate": {"met": "yes"}}), "is not met"),
        (json.dumps({"gate": {"met": True}}), None),
    ],
)
def test_live_money_waits_for_the_paper_gate(tmp_path: Path, verdict: str | None, said: str | None) -> None:
    settings = load({"ALPHATRADER_MODE": "live", "ALPHATRADER_DATA_DIR": str(tmp_path)})
    if verdict is not None:
        paper = data_path(load({"ALPHATRADER_MODE": "paper", "ALPHATRADER_DATA_DIR": str(tmp_path)}))
        (paper / "paper_gate.json").write_text(verdict)
    refusal = live_refused(settings)
    assert refusal is None if said is None else said in str(refusal)
    assert live_refused(load({"ALPHATRADER_DATA_DIR": str(tmp_path)})) is None


def test_every_line_of_the_procfile_is_in_the_roster_in_order() -> None:
    from alphatrader.roster import AlphaTrader

    lines = [line.split(":")[0] for line in (ROOT / "Procfile").read_text().splitlines()]
    assert lines == [str(line.module) for line in AlphaTrader.LINES]
    assert set(lines) == set(Module) - {Module.CLI, Module.OPERATOR}


def test_a_clock_that_cannot_be_stamped_ends_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk: the sandbox's parent ended, honcho ended all others with it, and the reason stood in none of their logs."""
    settings = load({"ALPHATRADER_MODE": "sandbox", "ALPHATRADER_DATA_DIR": str(tmp_path)})
    sandbox = Parent(AlphaTrader.line("sandbox"), settings)
    epoch = sandbox._begin_epoch()
    (tmp_path / "sandbox" / "clock.new").mkdir()
    for _ in range(3):
        sandbox._stamp(epoch)
    assert capsys.readouterr().out.count("the clock's stamp cannot be written") == 1
    (tmp_path / "sandbox" / "clock.new").rmdir()
    before = (tmp_path / "sandbox" / "clock.json").read_text()
    sandbox._stamp(epoch)
    assert (tmp_path / "sandbox" / "clock.json").read_text() != before
