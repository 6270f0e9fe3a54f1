"""Atheris (libFuzzer) at the decode path: `python -m tests.fuzz.atheris_frames CORPUS_DIR [libFuzzer options]`.

An input is a mode and its bytes. Even: messages, a line each, their fields ended by NUL as on the wire but without lengths, which
are put before them, so that mutations reach the fields. Odd: the bytes of the stream as they are, in two reads.
The process ends with a status other than 0 at the first crash, hang (10 s on one input) or growth over 512 MB.
"""

from __future__ import annotations

import logging
import struct
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["alphatrader.clients.ibkr", "alphatrader.core.market", "ib_insync.decoder"]):
    from tests.fuzz.decode import DecodePath, frame, own_messages, recorded_messages

OPTIONS = ("-timeout=10", "-rss_limit_mb=512", "-max_len=2048", "-print_final_stats=1")


def seeds(folder: Path) -> int:
    """Writes the corpus to begin with; how many files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [*own_messages(), *recorded_messages()]
    bodies = [b"\0" + "\0".join(fields).encode() for fields in found]
    bodies += [b"\0" + b"\n".join("\0".join(fields).encode() for fields in own_messages())]
    bodies += [b"\x01\x10" + b"".join(map(frame, own_messages())), b"\x01\x04\xff\xff\xff\xff" + frame(own_messages()[0])]
    for number, body in enumerate(bodies):
        (folder / f"seed-{number:04d}").write_bytes(body)
    return len(bodies)


def main() -> None:
    folder = Path(sys.argv[1])
    sys.stdout.write(f"{seeds(folder)} seeds\n")
    sys.stdout.flush()
    path = DecodePath()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def one_input(data: bytes) -> None:
        if len(data) < 3:
            return
        if data[0] % 2:
            cut = 2 + data[1]
            path.read(data[2:cut], data[cut:])
            return
        messages = [line + b"\0" for line in data[1:].split(b"\n")]
        path.read(b"".join(struct.pack(">I", len(message)) + message for message in messages))

    atheris.Setup([sys.argv[0], str(folder), *sys.argv[2:], *OPTIONS], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
