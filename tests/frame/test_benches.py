"""Every benchmark begins as `make bench` begins it: alone, and beside whatever top-level `tests` an installed package brought."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alphatrader.runtime.settings import ROOT

BEGIN = """
import importlib, sys
root, *names = sys.argv[1:]
paths = [f"{root}/bench", *(path for path in sys.path if path != root)]
for name in names:
    sys.path[:] = paths
    for loaded in [one for one in sys.modules if one.partition(".")[0] == "tests"]:
        del sys.modules[loaded]
    importlib.import_module(name)
    print(name)
"""


def test_each_finds_what_it_needs(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign" / "tests"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").touch()
    names = sorted(path.stem for path in (ROOT / "bench").glob("bench_*.py"))
    assert "bench_detectors" in names
    done = subprocess.run(
        [sys.executable, "-c", BEGIN, str(ROOT), *names],
        cwd=foreign.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == names, done.stderr[-2000:]
