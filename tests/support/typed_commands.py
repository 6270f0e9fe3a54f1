"""Commands as the operator types them: each in a process of its own, with its own arguments, environment and streams."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphatrader.cli import main
from tests.support.forks import fork


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def typed(arguments: Sequence[str], environment: Mapping[str, str], *, answer: str = "", seconds: float = 40.0) -> Answer:
    """`alphatrader ARGUMENTS`, with `answer` typed into it."""
    with tempfile.TemporaryDirectory() as name:
        stdin, stdout, stderr = (Path(name) / stream for stream in ("stdin", "stdout", "stderr"))
        stdin.write_text(answer)
        process = fork(
            main, ["alphatrader", *arguments], environment,
            working_directory=Path.cwd(), stdin=stdin, stdout=stdout, stderr=stderr,
        )  # fmt: skip
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"alphatrader {' '.join(arguments)}: not done within {seconds:g} s")
        return Answer(process.exitcode, stdout.read_text(), stderr.read_text())
