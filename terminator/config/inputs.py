"""What a configuration was read from, and whether reading it again would give the same.

Parsing and validating thousands of hosts takes a second, comparing the bytes of their files takes milliseconds. A
reload after a renewed certificate finds the configuration as it was and keeps the value that runs.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from collections.abc import Mapping as Environment
from dataclasses import dataclass, field

MAX_FILE_BYTES = 16 * 2**20  # 2,000 routes are 200 KiB


@dataclass(slots=True, eq=False)
class Inputs:
    """All that the files' reader looked at. Filled while it reads, unchanged afterwards."""

    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """By path: where it led to, and the SHA-256 of what stood there."""
    patterns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What each pattern of `include` matched."""
    variables: dict[str, str | None] = field(default_factory=dict)
    """The environment variables that were asked for, with their values then."""
    repeatable: bool = True
    """False for standard input, which gives its text once."""

    def note_file(self, path: str, data: bytes) -> None:
        self.files[path] = os.path.realpath(path), hashlib.sha256(data).digest()

    def matched(self, pattern: str) -> list[str]:
        """The files that `pattern` matches now, in order; noted."""
        found = match(pattern)
        self.patterns[pattern] = tuple(found)
        return found

    def still(self, environment: Environment[str, str]) -> bool:
        """Whether files, matches and variables are what they were."""
        return (
            self.repeatable
            and all(environment.get(name) == value for name, value in self.variables.items())
            and all(tuple(match(pattern)) == found for pattern, found in self.patterns.items())
            and all(_stands(path, *stood) for path, stood in self.files.items())
        )


class Asked(Environment[str, str]):
    """An environment that notes in `inputs` what is asked of it."""

    def __init__(self, environment: Environment[str, str], inputs: Inputs) -> None:
        self._environment = environment
        self._inputs = inputs

    def __getitem__(self, name: str) -> str:
        self._inputs.variables[name] = self._environment.get(name)
        return self._environment[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environment)

    def __len__(self) -> int:
        return len(self._environment)


def match(pattern: str) -> list[str]:
    """The files that a pattern of `include` matches, sorted."""
    return [path for path in sorted(glob.glob(pattern, recursive=True)) if not os.path.isdir(path)]


def bounded(file: str | int) -> bytes:
    """What stands in a file: at most one byte more than is allowed, so that a device without end is found out."""
    with open(file, "rb", closefd=file != 0) as stream:
        return stream.read(MAX_FILE_BYTES + 1)


def _stands(path: str, led_to: str, digest: bytes) -> bool:
    try:
        return os.path.realpath(path) == led_to and hashlib.sha256(bounded(path)).digest() == digest
    except OSError:
        return False
