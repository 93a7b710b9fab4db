"""Read the files that `kubectl apply -f` would take: one DatabaseMigration, with its Secrets and ConfigMaps."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from bowline_operator.api import KIND, DatabaseMigration
from bowline_operator.validation import read_resource
from bowline_worker.contract import BadConfig

SUFFIXES = (".yaml", ".yml", ".json")
_KEY = re.compile(r"^[-._a-zA-Z0-9]{1,253}$")


class ManifestInvalid(BadConfig):
    """The files can't be used; `errors` has one line for each thing that is wrong."""

    def __init__(self, errors: Sequence[str], *, hint: str = "") -> None:
        super().__init__("; ".join(errors), reason="ManifestInvalid", hint=hint)
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True)
class Document:
    path: Path
    index: int
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    resource: DatabaseMigration
    path: Path  #: the file that has the DatabaseMigration
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def credentials(self) -> dict[str, Mapping[str, bytes]]:
        """The Secrets that the spec refers to, by name."""
        names = {
            side.credentials_secret_ref.name
            for side in (self.resource.spec.source, self.resource.spec.target)
        }
        return {name: self.secrets[name] for name in sorted(names)}

    def fingerprint(self) -> str:
        """Changes with the credentials, and tells nothing about them."""
        digest = hashlib.sha256()
        for name, keys in self.credentials().items():
            for key in sorted(keys):
                digest.update(repr((name, key)).encode() + hashlib.sha256(keys[key]).digest())
        return digest.hexdigest()[:12]


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files that are meant: those given, and in directories what kubectl would read."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
        else:
            found.append(path)
    return found


def read_contents(paths: Sequence[Path]) -> dict[Path, bytes]:
    """Read all files; a file that is not there is an error that names it."""
    contents = {}
    try:
        for path in files_of(paths):
            contents[path] = path.read_bytes()
    except OSError as error:
        where = error.filename or "the files"
        raise ManifestInvalid([f"could not read {where}: {error.strerror}"]) from None
    return contents


def parse(contents: Mapping[Path, bytes]) -> Manifest:
    """Understand the files; ManifestInvalid lists everything that is wrong with them."""
    documents = [doc for path, content in contents.items() for doc in _documents(path, content)]
    migrations = [doc for doc in documents if doc.raw.get("kind") == KIND]
    if len(migrations) != 1:
        where = ", ".join(str(path) for path in contents) or "no file"
        raise ManifestInvalid(
            [f"{len(migrations)} documents of kind {KIND} in {where}, exactly one is needed"]
        )
    main = migrations[0]
    resource, wrong = read_resource(main.raw)
    errors = [f"{main.path}: {each}" for each in wrong]
    namespace = resource.metadata.namespace if resource is not None else None
    secrets: dict[str, Mapping[str, bytes]] = {}
    config_maps: dict[str, Mapping[str, str]] = {}
    for doc in documents:
        name, place = _identity(doc)
        if place not in (None, namespace):
            continue
        if doc.raw.get("kind") == "Secret":
            secrets[name] = _secret(doc, name, errors)
        elif doc.raw.get("kind") == "ConfigMap":
            config_maps[name] = {str(k): str(v) for k, v in _block(doc, "data").items()}
    if resource is not None:
        errors += _missing(main.path, resource, secrets)
    if errors or resource is None:
        raise ManifestInvalid(errors)
    return Manifest(resource=resource, path=main.path, secrets=secrets, config_maps=config_maps)


def read_manifest(paths: Sequence[Path]) -> Manifest:
    return parse(read_contents(paths))


def _documents(path: Path, content: bytes) -> Iterator[Document]:
    # kubectl's YAML is version 1.1: `no` is a boolean there.
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    try:
        for index, raw in enumerate(yaml.load_all(content.decode("utf-8"))):
            if raw is None:
                continue
            if not isinstance(raw, dict):
                raise ManifestInvalid([f"{path}: document {index + 1} is not an object"])
            if raw.get("kind") == "List" and isinstance(raw.get("items"), list):
                for item in raw["items"]:
                    if isinstance(item, dict):
                        yield Document(path, index, item)
                continue
            yield Document(path, index, raw)
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ManifestInvalid([f"{path}{line}: {error.problem or error.context}"]) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ManifestInvalid([f"{path}: {str(error).splitlines()[0]}"]) from None


def _identity(doc: Document) -> tuple[str, str | None]:
    metadata = doc.raw.get("metadata")
    if not isinstance(metadata, dict):
        return "", None
    return str(metadata.get("name", "")), metadata.get("namespace")


def _block(doc: Document, name: str) -> Mapping[str, Any]:
    block = doc.raw.get(name)
    return block if isinstance(block, dict) else {}


def _secret(doc: Document, name: str, errors: list[str]) -> dict[str, bytes]:
    """Decode a Secret; no message ever holds a value."""
    keys: dict[str, bytes] = {}
    for block in ("data", "stringData"):
        for key, value in _block(doc, block).items():
            where = f"{doc.path}: Secret {name}: {block}.{key}"
            if not _KEY.match(str(key)) or str(key) in (".", ".."):
                errors.append(f"{where}: not a key that a Secret may have")
            elif not isinstance(value, str):
                errors.append(f"{where}: must be a string: put it in quotes")
            elif block == "stringData":
                keys[str(key)] = value.encode()
            else:
                try:
                    keys[str(key)] = base64.b64decode(value, validate=True)
                except binascii.Error:
                    errors.append(f"{where}: is not base64: use stringData for plain text")
    return keys


def _missing(
    path: Path, resource: DatabaseMigration, secrets: Mapping[str, Mapping[str, bytes]]
) -> Iterator[str]:
    for side, database in (("source", resource.spec.source), ("target", resource.spec.target)):
        name = database.credentials_secret_ref.name
        field_path = f"{path}: spec.{side}.credentialsSecretRef.name"
        if name not in secrets:
            yield f"{field_path}: no Secret {name} in the files that were given"
            continue
        for key in ("username", "password"):
            if key not in secrets[name]:
                yield f"{field_path}: Secret {name} has no key {key}"
