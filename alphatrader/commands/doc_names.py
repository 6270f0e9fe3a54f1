"""Names that lead nowhere: in the docs links, files, decisions, settings, commands with their options and names of the code; in
the code the pages it cites.

For `alphatrader docs --check`. A name of a page is a link's target, what stands between backticks, or a line of a block of code.
"""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from alphatrader.commands import COMMANDS
from alphatrader.contract.settings import Settings
from alphatrader.runtime.settings import ROOT

_SOURCES: Final = ("alphatrader", "tests", "bench", "config", "deploy")
_SUFFIXES: Final = (
    ".py",
    ".yaml",
    ".conf",
    ".csv",
    ".js",
    ".html",
    ".service",
    ".target",
    "Makefile",
    "Procfile",
    ".txt",
    ".toml",
)
_LINK: Final = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_BLOCK: Final = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_DECISION: Final = re.compile(r"docs/decisions/(\d{3})")
_PATH: Final = re.compile(r"(?:[\w.-]+/)+[\w@.-]*\.(?:py|md|yaml|csv|conf|js|html|dot|service)\Z")
_SETTING: Final = re.compile(r"([a-z_]+)((?:\.[a-z_]+)+)\Z")
_COMMAND: Final = re.compile(r"(?:.*[\s/])?alphatrader ([a-z]+)([^#]*)")
_TARGET: Final = re.compile(r"(?:.*\s)?make ([a-z]+)\b")
_MODULE: Final = re.compile(r".*python -m ((?:alphatrader|tests|bench)[\w.]*)")
_WORD: Final = re.compile(r"(?:[a-z][a-z0-9]*(?:_[a-z0-9]+)+|(?:[A-Z][a-z0-9]+){2,})(?:\(\))?\Z")
"""A name of the code: words joined by underscores, or capitals within."""
_CITED: Final = re.compile(r"(?<![\w/.-])(?:docs/)?((?:[a-z0-9-]+/)*[a-z0-9-]+\.md)\b")


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").glob("*.md"))]


def leading_nowhere() -> list[str]:
    """`file: name` of each, in reading order."""
    code = [path for folder in ("alphatrader", "bench") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [(page, name) for page in pages() for name in lost(page)]
    found += [(path, name) for path in code for name in cited_nowhere(path)]
    return [f"{path.relative_to(ROOT)}: {name}" for path, name in found]


def cited_nowhere(path: Path) -> list[str]:
    """The pages that a file of the code cites and `docs/` does not hold, in reading order."""
    return [name for name in _CITED.findall(path.read_text()) if not (ROOT / "docs" / name).exists()]


def lost(page: Path) -> Iterator[str]:
    """The names of one page, in reading order within links, decisions, blocks and text."""
    text = page.read_text()
    for target in _LINK.findall(text):
        if "://" not in target and not (page.parent / target).exists():
            yield target
    for number in _DECISION.findall(text):
        if not any((ROOT / "docs" / "decisions").glob(f"{number}-*.md")):
            yield f"docs/decisions/{number}"
    blocks = [line.strip() for block in _BLOCK.findall(text) for line in block.splitlines()]
    yield from (line for line in blocks if not _can_be_run(line))
    yield from (span for span in _SPAN.findall(_BLOCK.sub("", text)) if not _known(span, page))


def _known(span: str, page: Path) -> bool:
    if _PATH.match(span):
        places = (ROOT, ROOT / "alphatrader", page.parent)
        return span.startswith(("data/", "logs/")) or any((place / span).exists() for place in places)
    if (setting := _SETTING.match(span)) and setting[1] in _sections():
        return _is_setting(span.split("."))
    if _WORD.match(span):
        word = span.removesuffix("()")
        return word in _words() or re.split(r"\d", word)[0] in _words()  # a number may be put in when it runs
    return _can_be_run(span)


def _can_be_run(line: str) -> bool:
    """Whether the command, target or module that it names is there; any other line is nothing to run."""
    if command := _COMMAND.match(line):
        return command[1] in COMMANDS and set(re.findall(r"--[a-z-]+", command[2])) <= _options(command[1])
    if target := _TARGET.match(line):
        return re.search(rf"^{target[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE) is not None
    if module := _MODULE.match(line):
        path = ROOT / module[1].replace(".", "/")
        return path.with_suffix(".py").exists() or (path / "__main__.py").exists()
    return True


@cache
def _options(command: str) -> frozenset[str]:
    parser = argparse.ArgumentParser()
    importlib.import_module(f"alphatrader.commands.{command}").arguments(parser)
    return frozenset(re.findall(r"--[a-z-]+", parser.format_help())) | {"--json"}


@cache
def _sections() -> frozenset[str]:
    return frozenset(field.name for field in msgspec.structs.fields(Settings))


def _is_setting(path: list[str]) -> bool:
    kind: object = Settings
    for name in path:
        if not isinstance(kind, type) or not issubclass(kind, msgspec.Struct):
            return True  # inside a map
        found = {field.name: field.type for field in msgspec.structs.fields(kind)}
        if name not in found:
            return False
        kind = found[name]
    return True


@cache
def _words() -> frozenset[str]:
    """Every word of the sources."""
    files = [path for folder in _SOURCES for path in (ROOT / folder).rglob("*") if path.name.endswith(_SUFFIXES)]
    files += [ROOT / name for name in ("Makefile", "Procfile", "pyproject.toml", "requirements.in")]
    return frozenset(word for path in files for word in re.findall(r"\w+", path.read_text()))
