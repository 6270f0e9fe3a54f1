"""`.env` in the project's folder: settings and secrets by the names of their variables, one a line.

Every command reads it (`alphatrader.cli`), so that `doctor` judges what `start` runs; what is exported already wins. A line that
says nothing is an error, not passed over: a limit or a secret that is silently not set is worse. Values are taken as they stand,
between quotes or not; a comment needs a space before its `#`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Final

from alphatrader.contract.settings.secrets import SECRETS
from alphatrader.runtime.settings import ENV_FILE, PREFIX, ROOT, SettingsError

_LINE: Final = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_]\w*)=(?:(?P<quote>['"])(?P<quoted>.*)(?P=quote)|(?P<plain>[^'"].*)?)"""
)
_COMMENT: Final = re.compile(r"(^|\s+)#.*$")


def place(environment: Mapping[str, str] = os.environ) -> Path:
    return Path(environment.get(ENV_FILE) or ROOT / ".env")


def read(path: Path) -> dict[str, str]:
    """Variable -> value; empty where there is no file. Raises SettingsError, which names the line and never shows it."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from None
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line) or _LINE.fullmatch(_COMMENT.sub("", line))
        if found is None:
            raise SettingsError(f"{path}: line {number} is no NAME=value: a quote must end where the value ends")
        name = found["name"]
        if name in values:
            raise SettingsError(f"{path}: line {number}: {name} stands there twice")
        plain = _COMMENT.sub("", found["plain"] or "").rstrip()
        values[name] = plain if found["quote"] is None else found["quoted"]
    return values


def unread(names: Iterable[str]) -> list[str]:
    """Names that no module asks for: a secret that is spelt otherwise is not set, and nobody would say so."""
    known = {secret.variable for secret in SECRETS}
    return [name for name in names if name not in known and not name.startswith(PREFIX)]


def apply(environment: MutableMapping[str, str]) -> None:
    """Adds what the file says and nobody exported. Raises SettingsError."""
    for name, value in read(place(environment)).items():
        environment.setdefault(name, value)
