"""Which processes belong to a system: those whose environment names its folder, and the servers, which work in it."""

from __future__ import annotations

from pathlib import Path

import psutil


def of_system(folder: Path) -> list[psutil.Process]:
    """The living processes started for the system in `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            named = str(folder) in process.environ().get("ALPHATRADER_DATA_DIR", "")
            mine = named or process.cwd().startswith(f"{folder}/")
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
