"""Reads config/config.yaml, lays the mode's profile and the environment over it, and checks all of it.

Who calls it: every process, once, at its start. An error names the field, where its value came from, and what is allowed.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import yaml

from alphatrader.contract.key import Server
from alphatrader.contract.settings import Mode, Settings

ROOT: Final = Path(__file__).resolve().parents[2]
PREFIX: Final = "ALPHATRADER_"
_HERE: Final = ("127.0.0.1", "::1", "localhost")
_LONGEST_SOCKET: Final = 100
"""Bytes of a Unix socket's path: systems allow 104 to 108."""
ENV_FILE: Final = "ALPHATRADER_ENV_FILE"
"""Another place than the project's folder for `.env` (runtime/env_file.py)."""
_NOT_SETTINGS: Final = ("ALPHATRADER_CONFIG", ENV_FILE, "ALPHATRADER_REDIS_PASSWORD", "ALPHATRADER_MODULE")
_UNKNOWN: Final = re.compile(r"unknown field `(\w+)`")
_REFERENCE: Final = re.compile(r"\$\{([\w.]+)\}")


class SettingsError(ValueError):
    """A setting is missing, unknown or out of its bounds."""


class UniqueNamesLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a name that stands twice in one map: YAML takes the last, and the limits of the first would be gone unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = Counter(name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode) and name.value != "<<")
        for name, times in names.items():
            if times > 1:
                raise yaml.constructor.ConstructorError("in a map", node.start_mark, f"{name!r} stands {times} times")
        made: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return made


def load(environment: Mapping[str, str] | None = None, path: Path | None = None) -> Settings:
    """All settings. Raises SettingsError."""
    environment = os.environ if environment is None else environment
    path = path or Path(environment.get("ALPHATRADER_CONFIG") or ROOT / "config" / "config.yaml")
    try:
        tree = yaml.load(path.read_text("utf-8"), Loader=UniqueNamesLoader)  # noqa: S506 a safe loader
    except OSError as error:
        raise SettingsError(f"{path.name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path.name}: is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path.name}: is not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise SettingsError(f"{path.name}: must be a map of sections")
    overrides = _from_environment(environment)
    profiles = _profiles(tree.pop("profiles", None) or {}, path.name)
    mode = str(overrides.get("mode", tree.get("mode")))
    _merge(tree, profiles.get(mode) or {})
    _merge(tree, overrides)
    tree = _resolve(tree, tree)
    return _checked(tree, environment, path.name)


def _profiles(profiles: Any, file: str) -> dict[str, dict[str, Any] | None]:
    """Mode -> its settings. A misspelt mode would leave its own without them, unseen."""
    if not isinstance(profiles, dict):
        raise SettingsError(f"{file}: profiles: must be a map of modes")
    modes = get_args(Mode)
    for mode, profile in profiles.items():
        if mode not in modes:
            raise SettingsError(f"{file}: profiles.{mode}: there is no such mode, allowed are {', '.join(modes)}")
        if not isinstance(profile, dict | None):
            raise SettingsError(f"{file}: profiles.{mode}: must be a map of sections")
    return profiles


def _checked(tree: dict[str, Any], environment: Mapping[str, str], file: str) -> Settings:
    while True:
        try:
            return msgspec.convert(tree, Settings, strict=True)
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `$.")
            place = place.rstrip("`")
            variable = PREFIX + place.replace(".", "__").upper()
            if message.startswith("Expected `str`") and variable in environment and _put(tree, place, environment[variable]):
                continue  # text that looks like a number, such as a chat id
            if message.startswith("Invalid enum value"):
                message += f", allowed are {', '.join(_choices(place))}"
            source = _source(place, message, environment) or file
            raise SettingsError(f"{source}: {place or 'the file'}: {message}; see docs/settings.md") from error


def _source(place: str, message: str, environment: Mapping[str, str]) -> str | None:
    """The variable that gave what is wrong, if one did: the field's own, or that of the section or list that it stands in, or of
    something within it."""
    steps = re.sub(r"\[(.+?)\]", r".\1", place).strip(".").split(".")
    if unknown := _UNKNOWN.search(message):
        steps.append(unknown[1])
    variables = ["__".join(filter(None, steps[: i + 1])).upper() for i in range(len(steps))]
    given = [PREFIX + name for name in reversed(variables) if name and PREFIX + name in environment]
    within = [name for name in environment if unknown and name.startswith(f"{PREFIX}{variables[-1]}__")]
    return next((f"environment {name}" for name in given + within), None)


def _choices(place: str) -> list[str]:
    """The values that a field of few may have."""
    node: Any = msgspec.inspect.type_info(Settings)
    for step in place.split("."):
        field = next((field for field in getattr(node, "fields", ()) if field.name == step), None)
        if field is None:
            return []
        node = field.type.type if isinstance(field.type, msgspec.inspect.Metadata) else field.type
    return [str(value) for value in getattr(node, "values", ())]


def _put(tree: dict[str, Any], place: str, text: str) -> bool:
    """Puts the environment's text where the field stands; False where it stands there already."""
    *sections, leaf = place.split(".")
    for section in sections:
        tree = tree[section]
    changed = tree.get(leaf) != text
    tree[leaf] = text
    return changed


def data_place(settings: Settings) -> Path:
    """Where the mode's own folder is, or would be: who only looks makes none."""
    base = Path(settings.data_dir)
    return (base if base.is_absolute() else ROOT / base) / settings.mode


def data_path(settings: Settings) -> Path:
    """The mode's own folder, made if need be, closed to others. Raises SettingsError."""
    return _made("data_dir", data_place(settings), 0o700)


def server_socket(settings: Settings, server: Server) -> Path | None:
    """Where a server of this machine also listens; None for another machine's, and where the folder's path is too long for a Unix
    socket. Named by the port, so that another server, or a proxy before this one, is never taken for it."""
    address = settings.servers.at(server)
    if address.host not in _HERE:
        return None
    path = data_place(settings) / f"{server}-{address.port}.sock"
    return path if len(os.fsencode(path)) <= _LONGEST_SOCKET else None


def log_path(settings: Settings) -> Path:
    base = Path(settings.log_dir)
    return _made("log_dir", (base if base.is_absolute() else ROOT / base) / settings.mode, 0o777)


def _made(setting: str, folder: Path, mode: int) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as error:
        raise SettingsError(f"{setting}: {folder} cannot be made: {error.strerror}") from error
    return folder


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    from alphatrader.contract.settings.secrets import SECRETS

    known = {secret.variable for secret in SECRETS}.union(_NOT_SETTINGS)
    tree: dict[str, Any] = {}
    for variable, text in sorted(environment.items()):  # a section before its fields
        if not variable.startswith(PREFIX) or variable in known:
            continue
        *sections, leaf = variable[len(PREFIX) :].lower().split("__")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
            if not isinstance(branch, dict):
                raise SettingsError(f"environment {variable}: {section} is given as a whole too, and is no map")
        try:
            branch[leaf] = yaml.safe_load(text) if text else ""
        except yaml.YAMLError:
            branch[leaf] = text
    return tree


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(name), dict):
            _merge(base[name], value)
        else:
            base[name] = value


def _default(path: str) -> Any:
    """The default of a field that the file does not give."""
    node: Any = Settings
    for step in path.split("."):
        if isinstance(node, type) and issubclass(node, msgspec.Struct):
            fields = {field.name: field for field in msgspec.structs.fields(node)}
            if step not in fields:
                raise SettingsError(f"${{{path}}}: there is no such setting")
            field = fields[step]
            node = field.default
            if node is msgspec.NODEFAULT:
                node = getattr(msgspec.inspect.type_info(field.type), "cls", None)
        elif isinstance(node, list | tuple) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            raise SettingsError(f"${{{path}}}: there is no such setting")
    return node


def _resolve(node: Any, root: dict[str, Any]) -> Any:
    """Puts the values in the place of `${section.field}`; a text that is one reference keeps the value's type."""
    if isinstance(node, dict):
        return {name: _resolve(value, root) for name, value in node.items()}
    if isinstance(node, list):
        return [_resolve(value, root) for value in node]
    if not isinstance(node, str):
        return node

    def look_up(path: str) -> Any:
        value: Any = root
        for step in path.split("."):
            try:
                value = value[int(step)] if isinstance(value, list | tuple) else value[step]
            except (KeyError, IndexError, TypeError):
                return _default(path)
        return value

    whole = _REFERENCE.fullmatch(node)
    if whole:
        return look_up(whole[1])
    return _REFERENCE.sub(lambda match: str(look_up(match[1])), node)
