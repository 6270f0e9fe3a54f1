"""Servers leave last: they see whether a line still lives, however it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from alphatrader.runtime.presence import Presence

STAYING = "import sys; from pathlib import Path; from alphatrader.runtime.presence import Presence\n"
STAYING += "here = Presence(Path(sys.argv[1])); here.stay('risk'); print('here', flush=True); sys.stdin.read()"


def test_a_server_waits_for_every_line_and_sees_one_that_was_killed(tmp_path: Path) -> None:
    # given two servers that look, and a line that lives
    redis, state = Presence(tmp_path), Presence(tmp_path)
    assert redis.others_gone(0) and state.others_gone(0)
    line = subprocess.Popen([sys.executable, "-c", STAYING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert line.stdout is not None and line.stdout.readline() == b"here\n"
    assert not redis.others_gone(0.1) and not state.others_gone(0.1)
    redis.name("redis")
    assert redis.named() == {line.pid: "risk", os.getpid(): "redis"}
    # when it dies without a word
    line.kill()
    line.communicate()
    # then both may go
    assert redis.others_gone(20) and state.others_gone(20)
    redis.close()
    state.close()
