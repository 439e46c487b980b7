"""YAML text into a tree of nodes, each of which knows where it stands. The only user of PyYAML.

The tree is built from libyaml's events rather than by its composer: that recurses without bound (a file of a million
`[` ends the process), counts an alias as nothing, and drops the marks of keys. Here depth, the number of nodes with
every alias counted as often as it stands, and recursive aliases are refused before anything is built from them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping as Environment
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import yaml

from terminator.config.places import KeyPath, Place, Problem, Source, dotted
from terminator.config.scalars import core_value, expand
from terminator.config.syntax import explain

MAX_DEPTH = 40  # the model needs 9
MAX_NODES = 2_000_000  # over all files; 5,000 hosts with ten routes each need 500,000


class Text(str):
    """A string of the configuration. It knows the folder of the file it stands in."""

    __slots__ = ("folder",)
    folder: str

    def resolve(self, prefix: str = "") -> str:
        """The absolute path that the text after `prefix` names, seen from the folder of its file."""
        return os.path.normpath(os.path.join(self.folder, self[len(prefix) :]))


@dataclass(slots=True, eq=False)
class Scalar:
    """`written` is the text before variables were expanded, the only one that may be shown when `expanded`."""

    place: Place
    value: Text | int | float | bool | None
    written: str
    expanded: bool = False
    broken: bool = False
    """A fault was already told here; what the value leads to is not worth telling."""
    size: int = 1
    height: int = 1


@dataclass(slots=True, eq=False)
class Sequence:
    place: Place
    items: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1
    joined: bool = False
    """Made of several files, so that no anchor of one of them shows it."""


class Entry(NamedTuple):
    key: Place
    node: Node


@dataclass(slots=True, eq=False)
class Mapping:
    place: Place
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 1
    height: int = 1
    joined: bool = False


Node: TypeAlias = Scalar | Sequence | Mapping


class Unusable(Exception):
    """A file that gives no tree at all; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.line)
        self.problem = problem


@dataclass(slots=True)
class Budget:
    """What is left of MAX_NODES."""

    nodes: int = MAX_NODES


def compose(source: Source, environment: Environment[str, str], budget: Budget, problems: list[Problem]) -> Node | None:
    """The tree of a file, None when it holds no document.

    Faults after which the tree still makes sense (a duplicate key, a variable that is not set) go to `problems`;
    Unusable is raised for the others.
    """
    try:
        return _Composer(source, environment, budget, problems).document()
    except yaml.MarkedYAMLError as error:
        mark, context = error.problem_mark, error.context_mark
        line, column, message = explain(
            source.lines,
            error.problem or "not YAML",
            (mark.line, mark.column) if mark is not None else (0, 0),
            (context.line, context.column) if context is not None else None,
        )
        raise Unusable(Problem(Place(source, line + 1, column + 1), "", message)) from None


class _Composer:
    def __init__(
        self, source: Source, environment: Environment[str, str], budget: Budget, problems: list[Problem]
    ) -> None:
        self._source = source
        self._folder = source.folder
        self._environment = environment
        self._budget = budget
        self._problems = problems
        self._anchors: dict[str, Node | None] = {}  # None: the node is still open
        self._loader = yaml.CSafeLoader(source.text)

    def document(self) -> Node | None:
        try:
            self._next()  # the stream's start
            if isinstance(self._next(), yaml.StreamEndEvent):
                return None
            root = self._node(self._next(), 1, ())
            self._next()  # the document's end
            after = self._next()
            if not isinstance(after, yaml.StreamEndEvent):
                raise self._unusable(after, (), "a second document begins here; a file holds one")
            return root
        finally:
            self._loader.dispose()

    def _next(self) -> yaml.Event:
        event = self._loader.get_event()
        assert event is not None
        return event

    def _node(self, event: yaml.Event, depth: int, path: KeyPath) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth, path)
        self._budget.nodes -= 1
        self._check_bounds(event, depth, path)
        anchor: str | None = event.anchor  # type: ignore[attr-defined]
        if anchor is not None:
            self._anchors[anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(event, ("tag:yaml.org,2002:str", "!"), path)
            node = self._scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._refuse_tag(event, ("tag:yaml.org,2002:seq", "!"), path)
            node = self._sequence(event, depth, path)
        else:
            self._refuse_tag(event, ("tag:yaml.org,2002:map", "!"), path)
            node = self._mapping(event, depth, path)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent, depth: int, path: KeyPath) -> Node:
        name = event.anchor or ""
        if name not in self._anchors:
            raise self._unusable(
                event, path, f'no anchor &{name} stands before this alias; quote a text that begins with *: "*{name}"'
            )
        node = self._anchors[name]
        if node is None:
            raise self._unusable(event, path, f"*{name} stands inside what it repeats")
        self._budget.nodes -= node.size
        self._check_bounds(event, depth + node.height - 1, path)
        return node

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Scalar:
        place, written = self._place(event), event.value
        text, broken, expanded = written, False, False
        if "$" in written:
            text, faults = expand(written, self._environment)
            expanded = "${" in written
            for fault in faults:
                broken = True
                self._problems.append(Problem(_inside(place, fault.written), dotted(path), fault.message))
        if "\0" in text:
            broken = True
            self._problems.append(Problem(place, dotted(path), "a NUL character can stand nowhere in a configuration"))
        value = core_value(text) if event.implicit[0] and event.tag is None else text
        if isinstance(value, str):
            value = Text(value)
            value.folder = self._folder
        return Scalar(place, value, written, expanded, broken)

    def _sequence(self, event: yaml.Event, depth: int, path: KeyPath) -> Sequence:
        sequence = Sequence(self._place(event))
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            node = self._node(event, depth + 1, (*path, len(sequence.items)))
            sequence.items.append(node)
            _count(sequence, node)
        return sequence

    def _mapping(self, event: yaml.Event, depth: int, path: KeyPath) -> Mapping:
        mapping = Mapping(self._place(event))
        merged: list[Node] = []
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._unusable(event, path, "a key is a single word, and no list, mapping or alias")
            key, place = event.value, self._place(event)
            self._budget.nodes -= 1
            node = self._node(self._next(), depth + 1, (*path, key))
            if key == "<<" and event.implicit[0]:
                merged += self._merged(node, (*path, key))
            elif key in mapping.entries:
                first = mapping.entries[key].key
                self._problems.append(Problem(place, dotted((*path, key)), f"this key already stands at {first}"))
            else:
                mapping.entries[key] = Entry(place, node)
                _count(mapping, node)
        for node in merged:
            assert isinstance(node, Mapping)
            for key, entry in node.entries.items():
                if key not in mapping.entries:
                    mapping.entries[key] = entry
                    _count(mapping, entry.node)
        return mapping

    def _merged(self, node: Node, path: KeyPath) -> list[Node]:
        """The mappings that `<<` merges in: keys of the mapping itself win, then those of earlier ones."""
        nodes = node.items if isinstance(node, Sequence) else [node]
        if all(isinstance(one, Mapping) for one in nodes):
            return list(nodes)
        self._problems.append(Problem(node.place, dotted(path), "<< takes a mapping, or a list of mappings"))
        return []

    def _check_bounds(self, event: yaml.Event, depth: int, path: KeyPath) -> None:
        if depth > MAX_DEPTH:
            raise self._unusable(event, path[:5], f"nested deeper than {MAX_DEPTH} levels")
        if self._budget.nodes < 0:
            raise self._unusable(event, path, f"the configuration holds more than {MAX_NODES} values, aliases counted")

    def _refuse_tag(self, event: yaml.Event, usual: tuple[str, str], path: KeyPath) -> None:
        tag: str | None = event.tag  # type: ignore[attr-defined]
        if tag is not None and tag not in usual:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            remedy = "quote a text that begins with !, and remove a tag"
            self._problems.append(
                Problem(self._place(event), dotted(path), f"the tag {shown} means nothing here; {remedy}")
            )

    def _place(self, event: yaml.Event) -> Place:
        start, end = event.start_mark, event.end_mark
        assert start is not None
        assert end is not None
        width = end.column - start.column if end.line == start.line else 1
        return Place(self._source, start.line + 1, start.column + 1, width if width > 0 else 1)

    def _unusable(self, event: yaml.Event, path: KeyPath, message: str) -> Unusable:
        return Unusable(Problem(self._place(event), dotted(path), message))


def _count(parent: Sequence | Mapping, child: Node) -> None:
    parent.size += child.size
    if child.height >= parent.height:
        parent.height = child.height + 1


def _inside(place: Place, text: str) -> Place:
    """The place of `text` within a scalar, where its first line shows it; else the scalar's own."""
    line = place.source.lines[place.line - 1] if place.line <= len(place.source.lines) else ""
    found = line.find(text, place.column - 1)
    return place._replace(column=found + 1, width=len(text)) if found >= 0 else place
