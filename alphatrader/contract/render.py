"""What derives from the contract: each module's ACL rules, the table in docs/keys.md, the flow graph, JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alphatrader.contract.key import SELF, Key, Server
from alphatrader.contract.keys import ALL
from alphatrader.contract.modules import CELERY_USERS, SERVERS, Module

_COMMANDS = "-@all +@read +@write +@stream +@transaction +@connection +@scripting -@dangerous -@admin +info +ping"
_CELERY_CHANNELS = "&celery:/0.celery.pidbox &celery:/0.celeryev/* &celery:/0.celeryev/worker.*"
"""Literal: Redis matches PSUBSCRIBE patterns against the rules as text, so `&celery:*` would refuse them."""

_READERS_OF_ALL = (Module.OPERATOR, Module.CLI)
"""The operator reads everything; the CLI reads what its commands show, and writes only its own control stream."""


def _self_written(key: Key[Any], module: Module) -> bool:
    return key.writer is SELF and module not in (Module.OPERATOR, *SERVERS)


def writes(key: Key[Any], module: Module) -> bool:
    return key.writer == module or _self_written(key, module)


def reads(key: Key[Any], module: Module) -> bool:
    return module in key.readers or module in _READERS_OF_ALL


def acl_rules(module: Module, server: Server) -> str:
    """The rules of `module`'s user on `server`, without its name and password. A module that has nothing there gets no key."""
    if module in SERVERS:
        return "+@all ~* &*" if (module == Module.REDIS) == (server == Server.DATA) else "-@all +ping"
    keys: list[str] = []
    for key in (key for key in ALL if key.server == server):
        if writes(key, module):
            keys.extend(f"~{name}" for name in key.globs_of(module))
        if module in key.takers:
            keys.append(f"~{key.glob()}")
        if reads(key, module):
            keys.append(f"%R~{key.glob()}")
    rules = [_COMMANDS, *dict.fromkeys(keys)]
    if module in CELERY_USERS and server == Server.STATE:
        rules += ["~celery:*", _CELERY_CHANNELS, "+@pubsub +eval +evalsha +script|load +time"]
    return " ".join(rules)


def acl_file(server: Server, password_hashes: dict[Module, str]) -> str:
    """The server's whole ACL file: the default user off, one user a module. Hashes are SHA-256, hex."""
    lines = ["user default off resetpass resetkeys resetchannels -@all"]
    for module, digest in password_hashes.items():
        lines.append(f"user {module} on #{digest} resetkeys resetchannels {acl_rules(module, server)}")
    return "\n".join(lines) + "\n"


def _names(modules: Iterable[Module]) -> str:
    return ", ".join(str(module) for module in dict.fromkeys(modules))


def _schema_name(key: Key[Any]) -> str:
    name = getattr(key.schema, "__name__", None) or str(key.schema)
    if "|" in str(key.schema):
        name = " or ".join(part.__name__ for part in key.schema.__args__)
    return str(name)


def _ttl(key: Key[Any]) -> str:
    if key.ttl_seconds is None:
        return "none"
    text = f"{key.ttl_seconds:g} s" if key.ttl_seconds < 3600 else f"{key.ttl_seconds / 3600:g} h"
    return f"{text} (`{key.ttl_setting}`)" if key.ttl_setting else text


def as_rows() -> list[dict[str, Any]]:
    """Every key as plain data, in flow order."""
    return [
        {
            "pattern": key.pattern,
            "server": str(key.server),
            "kind": str(key.kind),
            "message": _schema_name(key),
            "ttl": _ttl(key),
            "writer": str(key.writer) if isinstance(key.writer, Module) else "the module named",
            "readers": [str(module) for module in dict.fromkeys(key.readers)],
            "takers": [str(module) for module in key.takers],
            "maxlen": key.maxlen,
            "plan": key.plan,
            "about": key.about,
        }
        for key in ALL
    ]


def as_markdown() -> str:
    """docs/keys.md."""
    lines = [
        "# Every Redis key",
        "",
        "Generated from `alphatrader/contract/keys/` by `alphatrader keys --markdown`; `make check` holds it fresh.",
        "Keys marked with * are named in the user's plan. The dashboard and the operator's user read everything.",
        "",
    ]
    for server, title in ((Server.DATA, "Data server"), (Server.STATE, "State server")):
        lines += [
            f"## {title}",
            "",
            "| Key | Kind | Message | TTL | Writer | Readers | Takers | What it is |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for key, row in zip(ALL, as_rows(), strict=True):
            if key.server == server:
                shown = [name for name in row["readers"] if name not in ("dashboard", "operator")]
                readers = "all" if len(shown) > 15 else ", ".join(shown)
                star = "*" if key.plan else ""
                cells = (row["message"], row["ttl"], row["writer"], readers, ", ".join(row["takers"]), key.about)
                lines.append(f"| `{key.pattern}`{star} | {key.kind} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def as_graph() -> str:
    """The flow as a Graphviz digraph: writer -> reader, labelled by key."""
    edges: dict[tuple[str, str], list[str]] = {}
    for key in ALL:
        if not isinstance(key.writer, Module) or key.writer in SERVERS:
            continue
        for reader in dict.fromkeys((*key.readers, *key.takers)):
            if reader not in (Module.DASHBOARD, Module.OPERATOR, Module.WATCHDOG, key.writer):
                edges.setdefault((key.writer, reader), []).append(key.pattern)
    lines = ["digraph alphatrader {", "  rankdir=LR;"]
    lines += [f'  "{a}" -> "{b}" [label="{chr(92) + "n"}{(chr(92) + "n").join(names[:4])}"];' for (a, b), names in edges.items()]
    return "\n".join([*lines, "}"]) + "\n"
