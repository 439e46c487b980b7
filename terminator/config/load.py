"""The operator's files to one `Config`, or every fault in them at once, each with its place.

Read and put together (`files`, over `nodes` and `scalars`), checked against the model (pydantic; `sentences` words its
complaints), then against itself (`crosscheck`; where the model complains, what `remainder` leaves). Nothing is looked
up outside the files: whether a certificate loads or a user exists is for those who use the value, and `Loaded.problem`
lets them point at the line too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping as Environment
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from terminator.config import sentences
from terminator.config.crosscheck import crosscheck
from terminator.config.files import gather
from terminator.config.findings import Findings, place_of
from terminator.config.inputs import Inputs
from terminator.config.model import Config
from terminator.config.nodes import Mapping, Node, Scalar, Sequence
from terminator.config.places import KeyPath, Problem, dotted, undotted
from terminator.config.remainder import is_suspect, remainder
from terminator.errors import ConfigError

DEFAULT_PATH = "/etc/terminator/terminator.yaml"


@dataclass(frozen=True)
class Loaded:
    """A valid configuration and where it came from. `files` are absolute paths, the main one first."""

    config: Config
    files: tuple[str, ...]
    findings: tuple[Problem, ...]
    """What is allowed and probably not meant."""
    inputs: Inputs = field(repr=False)
    _root: Mapping = field(repr=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """`findings` as rendered texts, as ConfigError has its problems."""
        return tuple(str(finding) for finding in self.findings)

    def locate(self, path: str | KeyPath) -> str:
        """`FILE:LINE:COL` of `hosts[0].certificates[1].key` (or of its path as a tuple); of what is above it when the
        key is not written because its default holds."""
        return str(place_of(undotted(path) if isinstance(path, str) else path, self._root))

    def problem(self, path: str | KeyPath, message: str) -> Problem:
        """A fault found later, such as a certificate that cannot be read, shown like those of `load`."""
        way = undotted(path) if isinstance(path, str) else path
        return Problem(place_of(way, self._root), dotted(way), message)


def load(path: str, environment: Environment[str, str] | None = None) -> Loaded:
    """The configuration in the file `path` (`-`: standard input). Raises ConfigError with every fault, in order."""
    loaded, problems = examine(path, environment)
    if loaded is None:
        raise ConfigError([str(problem) for problem in problems])
    return loaded


def examine(path: str, environment: Environment[str, str] | None = None) -> tuple[Loaded | None, tuple[Problem, ...]]:
    """As `load`, with the faults as values; there are some exactly when there is no configuration."""
    tree = gather(path, os.environ if environment is None else environment)
    problems = list(tree.problems)
    config, findings = None, Findings(tree.root)
    try:
        config = Config.model_validate(_plain(tree.root))
    except ValidationError as error:
        problems += sentences.problems(error, tree.root, whole=tree.whole)
        if tree.whole and (readable := remainder(error, _plain(tree.root))) is not None:
            rest, suspects = readable
            crosscheck(rest, findings)
            problems += [fault for fault in findings.errors if not is_suspect(undotted(fault.key), suspects)]
    if config is not None and tree.whole:
        crosscheck(config, findings)
        problems += findings.errors
    if config is None or problems:
        return None, _in_order(problems, tree.files)
    found = _in_order(findings.warnings, tree.files)
    return Loaded(config, tuple(tree.files), found, tree.inputs, tree.root), ()


def _plain(node: Node) -> Any:
    """The values of a tree without their places."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    return {key: _plain(entry.node) for key, entry in node.entries.items()}


def _in_order(problems: list[Problem], files: list[str]) -> tuple[Problem, ...]:
    """By file as they were read, line and column; the same sentence about the same place once."""
    order = {path: number for number, path in enumerate(files)}

    def position(problem: Problem) -> tuple[int, int, int]:
        place = problem.place
        return order.get(place.source.path, -1), place.line, place.column

    return tuple(sorted({problem.line: problem for problem in problems}.values(), key=position))
