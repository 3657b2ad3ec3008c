"""Reading and writing manifest.json, and proving that files match it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import json_format

from artifacts.errors import ArtifactCorrupt, ArtifactMissing, CatalogueMismatch
from artifacts.keys import Keys, catalogue_hash
from artifacts.layout import MANIFEST
from plait.v1.manifest_pb2 import Manifest

SCHEMA_VERSION = 1
ITEM_KEYS = "item_keys.npy"
MODEL = "model.onnx"
_CHECKSUM = "checksum"


def write(directory: Path, manifest: Manifest, keys: Keys) -> None:
    """Complete a manifest with the hashes of what lies in `directory` and write both.

    Writes item_keys.npy (int64 [n], the key of row i + 1) first; every file
    there, sub-directories included, is hashed.
    """
    np.save(directory / ITEM_KEYS, keys.astype(np.int64))
    manifest.schema_version = SCHEMA_VERSION
    manifest.catalogue_hash = catalogue_hash(keys)
    manifest.item_count = len(keys)
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        name = path.relative_to(directory).as_posix()
        if name != MANIFEST:
            manifest.file_hashes[name] = file_hash(path)
    document = json_format.MessageToDict(manifest, preserving_proto_field_name=True)
    document[_CHECKSUM] = manifest.checksum = _checksum(document)
    (directory / MANIFEST).write_text(json.dumps(document, indent=2) + "\n")


def read(directory: Path) -> Manifest:
    """Read a manifest without checking the files.

    Raises ArtifactMissing or ArtifactCorrupt, naming the file. One that has no checksum was
    written by an earlier release, and is taken as it is.
    """
    path = directory / MANIFEST
    try:
        text = path.read_text()
        manifest = json_format.Parse(text, Manifest())
    except FileNotFoundError:
        raise ArtifactMissing(f"{path}: not found; is this an artifact directory?") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except (json_format.ParseError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactCorrupt(
            f"{path}: not a manifest ({error}); train this version anew"
        ) from None
    if manifest.schema_version != SCHEMA_VERSION:
        raise ArtifactCorrupt(
            f"{path}: schema version {manifest.schema_version}, this release reads "
            f"{SCHEMA_VERSION}; train with the same release as serves"
        )
    if manifest.checksum and manifest.checksum != _checksum(json.loads(text)):
        raise ArtifactCorrupt(
            f"{path}: not as it was written (its checksum differs); copy or train the version anew"
        )
    return manifest


def _checksum(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of all members but the checksum, however they are laid out.

    Of what the file says, not of the message: another release may write numbers otherwise.
    """
    rest = {name: value for name, value in document.items() if name != _CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def verify(directory: Path) -> tuple[Manifest, Keys]:
    """Read a manifest, check every file against it, return it with the item keys.

    Raises ArtifactMissing, ArtifactCorrupt or CatalogueMismatch, naming the file.
    """
    manifest = read(directory)
    altered_keys = True
    for name, expected in manifest.file_hashes.items():
        path = directory / name
        found = _hash(path)
        if found is None:
            raise ArtifactCorrupt(f"{path}: named in {MANIFEST} but missing; copy the version anew")
        if name == ITEM_KEYS:
            altered_keys = found != expected  # told below, where what the keys are is known
        elif found != expected:
            raise _altered(path)
    keys_path = directory / ITEM_KEYS
    try:
        keys: Keys = np.load(keys_path, allow_pickle=False)
        found = catalogue_hash(keys)
    except Exception as error:  # numpy raises many unrelated types for a damaged header
        raise ArtifactCorrupt(
            f"{keys_path}: cannot be read ({type(error).__name__}: {error}); "
            "copy or train the version anew"
        ) from None
    if found != manifest.catalogue_hash:
        raise CatalogueMismatch(
            f"{keys_path}: its item keys are not the catalogue {MANIFEST} names "
            f"({manifest.catalogue_hash[:12]}...); do not mix files of two versions"
        )
    # The same items in another order would give every row another item's key.
    if altered_keys:
        raise _altered(keys_path)
    return manifest, keys


def _altered(path: Path) -> ArtifactCorrupt:
    return ArtifactCorrupt(
        f"{path}: not the file {MANIFEST} was written for (SHA-256 differs); "
        "copy or train the version anew"
    )


def _unreadable(path: Path, error: OSError) -> ArtifactCorrupt:
    return ArtifactCorrupt(
        f"{path}: cannot be read ({error.strerror}); may this user read it? If so, copy or train "
        "the version anew"
    )


def _hash(path: Path) -> str | None:
    """Return file_hash, None where there is no such file; raises ArtifactCorrupt."""
    try:
        return file_hash(path) if path.is_file() else None
    except OSError as error:
        raise _unreadable(path, error) from None


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
