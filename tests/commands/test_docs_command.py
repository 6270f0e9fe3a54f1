"""`alphatrader docs --check` finds a name in the docs that leads nowhere, whatever kind it is, and leaves alone what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphatrader.commands.doc_names import cited_nowhere, leading_nowhere, lost
from alphatrader.runtime.settings import ROOT

CLASS = "Signal" + "Forecaster"
FUNCTION = "forecast" + "_signals"
"""In two parts: a word of this file would be a name that is there."""
GONE = {
    "[a page](nowhere.md)": "nowhere.md",
    "see docs/decisions/999": "docs/decisions/999",
    "`core/market/gone.py`": "core/market/gone.py",
    "`market.gone_seconds`": "market.gone_seconds",
    "`alphatrader forecast`": "alphatrader forecast",
    "`alphatrader report --weekly`": "alphatrader report --weekly",
    "`make coffee`": "make coffee",
    "```\n.venv/bin/python -m bench.bench_gone --seed 7\n```": ".venv/bin/python -m bench.bench_gone --seed 7",
    f"`{CLASS}`": CLASS,
    f"`{FUNCTION}()`": f"{FUNCTION}()",
}
THERE = """
[itself](page.md), [the web](https://example.com/gone.md), docs/decisions/001, `core/market/feed.py`, `market.quiet_seconds`,
`alphatrader report --json`, `make check`, `SignalGenerator`, `quiet_seconds`, `data/sandbox/truth.jsonl`, `2 + 2`.

```
.venv/bin/alphatrader replay LOG --list    # --weekly is a word of this comment
ALPHATRADER_SANDBOX__SPEED=5 make start
.venv/bin/python -m tests.invariants
```
"""


@pytest.mark.parametrize("written", GONE)
def test_a_name_that_leads_nowhere_is_told(tmp_path: Path, written: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"A page.\n\n{written}\n")
    assert list(lost(page)) == [GONE[written]]


def test_names_that_are_there_are_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(THERE)
    assert list(lost(page)) == []


def test_a_page_that_the_code_cites_must_be_there(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Gamma of a chain: sources.md §4, docs/decisions/none.md, elsewhere.md; writes report-DATE.md."""')
    assert cited_nowhere(module) == ["decisions/none.md", "elsewhere.md"]


def test_every_name_in_the_docs_leads_somewhere() -> None:
    assert leading_nowhere() == []


def test_a_setting_that_is_said_to_be_a_list_is_one() -> None:
    rows = [line.split(" | ") for line in (ROOT / "docs" / "settings.md").read_text().splitlines() if line.startswith("| `")]
    lists = {name: default for name, allowed, default, *_ in rows if allowed == "list"}
    assert len(lists) > 5
    assert {
        name: default for name, default in lists.items() if not default.startswith("`[") and default != "in config.yaml"
    } == {}
