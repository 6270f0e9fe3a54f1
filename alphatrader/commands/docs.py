"""`alphatrader docs`: writes what is generated: docs on keys, settings, connection and flow, .env.example, README's settings."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import msgspec

from alphatrader.clients.ibkr import codes
from alphatrader.commands import DONE, WRONG
from alphatrader.commands.access import say
from alphatrader.contract import render
from alphatrader.contract.settings import Settings
from alphatrader.contract.settings.secrets import SECRETS
from alphatrader.runtime.settings import PREFIX, ROOT

_BEGIN, _END = "<!-- settings -->", "<!-- /settings -->"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something is stale")


def run(args: argparse.Namespace) -> int:
    stale = []
    for name, text in generated().items():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not args.check:
            path.write_text(text)
    if args.check and stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `make docs`\n")
        return WRONG
    say(f"{'fresh' if not stale else 'written: ' + ', '.join(stale)}")
    return DONE


def generated() -> dict[str, str]:
    """Path -> content of every generated file."""
    return {
        "docs/keys.md": render.as_markdown(),
        "docs/flow.dot": render.as_graph(),
        "docs/settings.md": settings_markdown(),
        "docs/connection.md": codes.as_markdown(),
        "config/.env.example": env_example(),
        "README.md": _between_marks((ROOT / "README.md").read_text(), settings_tables()),
    }


def _between_marks(text: str, content: str) -> str:
    """The README with its list of settings renewed."""
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    return f"{head}{_BEGIN}\n{content}\n{_END}{tail}"


def settings_markdown() -> str:
    head = [
        "# Every setting",
        "",
        "Generated from `alphatrader/contract/settings/` by `make docs`. Set a field in `config/config.yaml`, in a profile",
        f"there for one mode, or in the environment: `{PREFIX}` and the name in capitals with `__` for the dot, such as",
        f"`{PREFIX}RISK__MAX_POSITIONS=3`.",
        "",
    ]
    return "\n".join([*head, settings_tables("## ")])


def settings_tables(heading: str = "#### ") -> str:
    """One table a section."""
    lines: list[str] = []
    sections: list[tuple[str, Any]] = [("", Settings)]
    while sections:
        name, kind = sections.pop(0)
        rows = []
        for field in msgspec.structs.fields(kind):
            info = msgspec.inspect.type_info(field.type)
            about = _about(info)
            inner = _inner(info)
            path = f"{name}.{field.name}" if name else field.name
            if isinstance(inner, msgspec.inspect.StructType) and _bare(info) is inner:
                sections.append((path, inner.cls))
                if name:
                    rows.append(f"| `{path}` | section | | {about} |")
                continue
            rows.append(f"| `{path}` | {_allowed(info)} | {_default(field)} | {about} |")
            if isinstance(inner, msgspec.inspect.StructType):
                sections.append((f"{path}.N", inner.cls))
        if rows:
            lines += [
                f"## {name or 'Top level'}",
                "",
                "| Setting | Allowed | Default | What it is |",
                "|---|---|---|---|",
                *rows,
                "",
            ]
    return "\n".join(lines)


def _bare(info: Any) -> Any:
    return info.type if isinstance(info, msgspec.inspect.Metadata) else info


def _inner(info: Any) -> Any:
    bare = _bare(info)
    return _bare(bare.item_type) if isinstance(bare, msgspec.inspect.VarTupleType) else bare


def _about(info: Any) -> str:
    extra = getattr(info, "extra_json_schema", None) or {}
    return str(extra.get("description", ""))


def _allowed(info: Any) -> str:
    bare = _bare(info)
    match bare:
        case msgspec.inspect.LiteralType(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case msgspec.inspect.BoolType():
            return "true, false"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            kind = "whole number" if isinstance(bare, msgspec.inspect.IntType) else "number"
            bounds = [
                f"{sign} {value:g}"
                for sign, value in ((">=", bare.ge), (">", bare.gt), ("<=", bare.le), ("<", bare.lt))
                if value is not None
            ]
            return " ".join([kind, *bounds])
        case msgspec.inspect.StrType(pattern=pattern):
            return f"text like `{pattern}`".replace("|", "\\|") if pattern else "text"
        case msgspec.inspect.DictType():
            return "map"
        case _:
            return "list"


def _default(field: Any) -> str:
    if field.default is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default).decode()}`"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    return "in config.yaml"


def env_example() -> str:
    lines = [
        "# Secrets, one variable each. Copy to .env in the project's folder (git ignores it; honcho reads it) and fill in what",
        "# you use.",
        "# Sandbox mode needs none of them.",
        "",
    ]
    for secret in SECRETS:
        made = " Made at the first start when not set." if secret.made else ""
        lines += [f"# {secret.about}. For: {', '.join(secret.modules)}.{made}", f"# {secret.variable}=", ""]
    return "\n".join(lines)
