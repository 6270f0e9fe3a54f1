"""Which code runs: a digest of the package's source as it stood when this process asked first.

The state server's parent stamps the server with its build; a process of another build does not start: a stream module
(module.py), a Celery worker, beat, a web application (beating.py). A rolling mixture of old and new order code is what ruined
Knight Capital in 2012.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from alphatrader.contract.messages.operations import Stamp

PACKAGE: Final = Path(__file__).parents[1]


@cache
def build_id() -> str:
    """Twelve hex digits over the name and content of every source file of the package."""
    digest = blake2b(digest_size=6)
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def refusal(stamp: Stamp | None) -> str | None:
    """Why this code may not run beside a system with this stamp on its state server; None where it may."""
    if stamp is None or stamp.build in ("", build_id()):
        return None
    return f"does not start: this code is build {build_id()}, the system runs {stamp.build}; restart all of it"
