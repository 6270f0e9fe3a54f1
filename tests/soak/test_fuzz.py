"""Thirty seconds of atheris on the frames the broker sends: no crash, no hang, no growth of memory."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alphatrader.runtime.settings import ROOT
from tests.soak.whole import promise

pytestmark = pytest.mark.soak
SECONDS = 30
MOST_GROWTH_MB = 128
"""Of resident memory from the end of the seeds to the end: libFuzzer keeps the inputs it finds, the product keeps nothing."""
RSS = re.compile(rb"#(\d+)\s+(\w+) .*?rss: (\d+)Mb")


def test_the_decode_path_stands_thirty_seconds_of_fuzzing(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed (requirements-fuzz.txt): it has no wheel for this Python or system")
    command = [sys.executable, "-m", "tests.fuzz.atheris_frames", str(tmp_path / "corpus"), f"-max_total_time={SECONDS}"]
    run = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"], cwd=ROOT, capture_output=True, timeout=SECONDS * 4 + 60, check=False
    )  # fmt: skip
    told = run.stdout + run.stderr
    assert run.returncode == 0, told[-4000:].decode(errors="replace")
    memory = [(kind, int(mb)) for _, kind, mb in RSS.findall(told)]
    begun = next(mb for kind, mb in memory if kind == b"INITED")
    runs = re.search(rb"Done (\d+) runs in (\d+) second", told)
    assert runs is not None and int(runs[1]) > 0, told[-2000:].decode(errors="replace")
    ended = memory[-1][1]
    assert ended - begun <= MOST_GROWTH_MB
    promise(f"{int(runs[1])} inputs in {int(runs[2])} s through framing, handlers and feeds; memory {begun} -> {ended} MB")
