"""Where faults beyond the schema are collected, each at the place of its key. A place already told is passed over."""

from __future__ import annotations

from terminator.config.nodes import Mapping, Scalar
from terminator.config.places import KeyPath, Place, Problem, dotted
from terminator.config.sentences import node_at, owner, shown


class Findings:
    """Errors and warnings about the configuration whose nodes hang from `root`."""

    def __init__(self, root: Mapping) -> None:
        self._root = root
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def error(self, path: KeyPath, message: str) -> None:
        if not self._told(path):
            self.errors.append(Problem(place_of(path, self._root), dotted(path), message))

    def warn(self, path: KeyPath, message: str) -> None:
        if not self._told(path):
            self.warnings.append(Problem(place_of(path, self._root), dotted(path), message))

    def shown(self, path: KeyPath) -> str:
        """The value at `path` as it is written in the file, whatever its variables became."""
        return shown(node_at(path, self._root))

    def is_written(self, path: KeyPath) -> bool:
        """Whether the value at `path` stands in the file as it is, so that a sentence may repeat it."""
        node = node_at(path, self._root)
        return not (isinstance(node, Scalar) and node.expanded)

    def place(self, path: KeyPath) -> Place:
        return place_of(path, self._root)

    def said(self, path: KeyPath, error: ValueError) -> str:
        """What a parser said of the value at `path`; not its words, which may repeat it, when variables made it."""
        return str(error) if self.is_written(path) else f"{self.shown(path)} became a value that is not allowed here"

    def _told(self, path: KeyPath) -> bool:
        node = node_at(path, self._root)
        return isinstance(node, Scalar) and node.broken


def place_of(path: KeyPath, root: Mapping) -> Place:
    """Where to point for `path`: at the value if it is a single one, else at its key; above, when it is not there."""
    node = node_at(path, root)
    return node.place if isinstance(node, Scalar) else owner(path, root)
