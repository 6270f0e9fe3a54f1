"""Disks that do not take what a journal writes: `written_to` any other descriptor, and one that stands still.

with standing_still(journal):
    ...                                   # whoever appends waits, and no byte reaches the file
...                                       # the disk goes on: what waited is taken
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from alphatrader.runtime.journal import Journal


@contextmanager
def written_to(journal: Journal, instead: int) -> Iterator[None]:
    """The journal's writes go there; afterwards to its file again."""
    file = os.dup(journal._file)
    os.dup2(instead, journal._file)
    try:
        yield
    finally:
        os.dup2(file, journal._file)
        os.close(file)


@contextmanager
def standing_still(journal: Journal) -> Iterator[None]:
    """A disk that takes a line and does not answer: a pipe that nobody reads, full to the last byte."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    for size in (4096, 1):
        with suppress(BlockingIOError):
            while True:
                os.write(writes, b"x" * size)
    os.set_blocking(writes, True)
    with written_to(journal, writes):
        yield
    os.close(writes)
    while os.read(reads, 65_536):  # until whoever waited has written, and nobody can any more
        pass
    os.close(reads)
