"""`alphatrader replay` of what is no whole log: each is named, none is called equal, nothing is a traceback."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from alphatrader.runtime.audit_file import BEGUN, SENT, TURN, Row, block
from tests.commands.conftest import Command
from tests.support.audit import label

NAME = "ibkr-2026-11-18-0001.audit"
AT = 1_795_014_000_000_000_000


def log_of(*rows: tuple[int, bytes], of: str = "ibkr") -> bytes:
    return label(name=of) + block(0, [Row(kind, AT, data) for kind, data in rows], AT, 1.0)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        (NAME, b"", "not whole from byte 0 to 0: it is empty"),
        (NAME, random.Random(7).randbytes(5_000), "it does not begin as an audit log does"),
        (NAME, b"ATAUDIT2" + log_of((SENT, b"x"))[8:], "it is of another version (b'ATAUDIT2' where this one reads b'ATAUDIT5')"),
        (NAME, log_of((SENT, b"x"))[:-3], "cut in its content"),
        (NAME, log_of((TURN, b"\x93\x00\xc2\x90")), "the beginning of a run is not there any more; 1 turns were passed over"),
        (NAME, log_of((BEGUN, b"no JSON")), "how it began cannot be read"),
        (NAME, log_of((BEGUN, b"{}")), "its settings are of another version"),
        ("execution-2026-11-18-0001.audit", log_of((SENT, b"x"), of="execution")[:-3], "cut in its content"),
        ("execution-2026-11-18-0001.audit", log_of((SENT, b"x")), "it says that it is part 1 of ibkr: a copy, or renamed"),
        ("signals-2026-11-18-0001.audit", log_of((BEGUN, b"{}")), "it says that it is part 1 of ibkr: a copy, or renamed"),
        ("photo.jpg", random.Random(8).randbytes(5_000), "READ: photo.jpg: not whole from byte 0 to 5000: it does not begin as"),
        (
            "elsewhere-2026-11-18-0001.audit",
            log_of((SENT, b"x"), of="elsewhere"),
            "elsewhere: no module of this name is recorded",
        ),
    ],
)
def test_what_is_no_whole_log_is_named_and_not_called_equal(
    run: Command, tmp_path: Path, name: str, content: bytes, word: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    answer = run("replay", str(path))
    assert answer.code == 3 and word in answer.out, answer.out + answer.err
    assert " equal " not in answer.out and not answer.err


@pytest.mark.parametrize("module", ["ibkr", "execution"])
def test_a_part_that_was_copied_under_the_next_number_is_named_and_not_read(run: Command, tmp_path: Path, module: str) -> None:
    content = log_of((BEGUN, b"{}"), (SENT, b"x"), of=module)
    for number in (1, 2):
        (tmp_path / f"{module}-2026-11-18-000{number}.audit").write_bytes(content)
    word = f"{module}-2026-11-18-0002.audit: it says that it is part 1 of {module}: a copy, or renamed"
    answer = run("replay", str(tmp_path))
    assert answer.code == 3 and word in answer.out and answer.out.count("its settings are of another version") <= 1
    listed = run("replay", str(tmp_path), "--list")
    assert listed.code == 3 and "it says that it is part 1" in " ".join(listed.out.split())


def test_what_is_not_there_is_said(run: Command, tmp_path: Path) -> None:
    for arguments, word in (
        ([str(tmp_path / "nowhere")], "there is no such file or folder"),
        ([str(tmp_path)], "there is no .audit file in it"),
        ([str(tmp_path), "--speed", "-1"], "--speed is a factor"),
        ([], "the following arguments are required: LOG"),
    ):
        answer = run("replay", *arguments)
        assert answer.code == 2 and word in answer.err and not answer.out
