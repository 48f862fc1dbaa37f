"""Which versions of a model a server is to hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeAlias

from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
    FileSystemStoragePathSourceConfig,
)

VersionPolicy: TypeAlias = (
    FileSystemStoragePathSourceConfig.ServableVersionPolicy
)


def stored_versions(base_path: Path) -> dict[int, Path]:
    """Lists the versions in a model's folder.

    Args:
        base_path: A folder; each sub-folder whose name is a number is a
            version.

    Returns:
        Folders by version; empty if there is no such folder.
    """
    found: dict[int, Path] = {}
    try:
        children = sorted(base_path.iterdir())
    except OSError:
        return {}
    for child in children:
        if re.fullmatch(r"[0-9]{1,18}", child.name) and child.is_dir():
            # Of 1 and 001, the shorter name comes first.
            found.setdefault(int(child.name), child)
    return found


def wanted_versions(stored: set[int], policy: VersionPolicy) -> set[int]:
    """Chooses versions by a policy.

    Args:
        stored: The versions that there are.
        policy: `latest`, `all` or `specific`; the newest one if empty.
    """
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return set(stored)
    if kind == "specific":
        return stored & set(policy.specific.versions)
    count = policy.latest.num_versions or 1
    return set(sorted(stored)[-count:])
