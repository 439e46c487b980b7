"""The files of a configuration: read, decoded, composed, and put together by `include`.

What an included file says is merged into what its includer says: lists append, mappings merge, and two different values
for one key are a fault that names both places. A file that is reached twice counts once.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from collections.abc import Mapping as Environment
from dataclasses import dataclass, field

from terminator.config.inputs import MAX_FILE_BYTES, Asked, Inputs, bounded
from terminator.config.nodes import Budget, Entry, Mapping, Node, Scalar, Sequence, Text, Unusable, compose
from terminator.config.places import LINE_BREAK, KeyPath, Place, Problem, Source, dotted

MAX_FILES = 20_000  # 5,000 hosts with a file each are in reach of a hosting company
MAX_INCLUDE_DEPTH = 8

_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_OTHER_ENCODINGS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"\0\0\xfe\xff", "UTF-32"))


@dataclass(slots=True, eq=False)
class Tree:
    """All files as one mapping. `whole` is false when some file gave nothing: then what is missing is no fault."""

    root: Mapping
    problems: list[Problem] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    inputs: Inputs = field(default_factory=Inputs)
    whole: bool = True


def gather(path: str, environment: Environment[str, str]) -> Tree:
    """Reads `path` (`-` is standard input) and everything it includes. No fault raises; all are in `problems`."""
    reader = _Reader(environment)
    standard_input = path == "-"
    name = "<stdin>" if standard_input else _printable(path)
    absolute = os.path.abspath(name if standard_input else path)
    tree = Tree(Mapping(Place(Source(name, absolute, ""), 1, 1)), reader.problems, reader.files, reader.inputs)
    try:
        data = bounded(0) if standard_input else bounded(path)
    except OSError as error:
        reader.problems.append(Problem(tree.root.place, "", f"cannot be read: {_reason(error)}"))
        tree.whole = False
        return tree
    if standard_input:
        reader.inputs.repeatable = False
    else:
        reader.files.append(absolute)
        reader.inputs.note_file(os.path.abspath(path), data)
    root = reader.merged(name, absolute, data, ())
    if root is not None:
        tree.root = root
    tree.whole = reader.whole
    return tree


class _Reader:
    def __init__(self, environment: Environment[str, str]) -> None:
        self.inputs = Inputs()
        self._environment = Asked(environment, self.inputs)
        self._budget = Budget()
        self._seen: set[str] = set()
        self.problems: list[Problem] = []
        self.files: list[str] = []
        self.whole = True

    def merged(self, name: str, path: str, data: bytes, within: tuple[str, ...]) -> Mapping | None:
        """The file's own mapping with those it includes merged in; `within` are the files that led here."""
        identity = os.path.realpath(path)
        self._seen.add(identity)
        try:
            root = self._compose(name, path, data)
        except Unusable as unusable:
            self.problems.append(unusable.problem)
            self.whole = False
            return None
        if root is None:
            return None
        include = root.entries.get("include")
        if include is not None:
            for place, child_name, child_path in self._included(include.node, root.place.source, (*within, identity)):
                if len(self.files) >= MAX_FILES:
                    self._fault(place, f"more than {MAX_FILES} files")
                    break
                try:
                    child_data = bounded(child_path)
                except OSError as error:
                    self._fault(place, f"cannot be read: {_reason(error)}")
                    continue
                self.files.append(child_path)
                self.inputs.note_file(child_path, child_data)
                child = self.merged(child_name, child_path, child_data, (*within, identity))
                if child is not None:
                    child.entries.pop("include", None)
                    root = self._joined(root, child, ())
        return root

    def _compose(self, name: str, path: str, data: bytes) -> Mapping | None:
        source = Source(name, path, _text(name, path, data))
        found = _UNPRINTABLE.search(source.text)
        if found is not None:
            message = f"a character that has no place in YAML (U+{ord(found[0]):04X}); inside quotes write an escape"
            raise Unusable(Problem(_place_of(source, found.start()), "", message))
        root = compose(source, self._environment, self._budget, self.problems)
        if isinstance(root, Mapping):
            return root
        if root is None or (isinstance(root, Scalar) and root.value is None):
            return None
        raise Unusable(Problem(root.place, "", "a configuration is a mapping: lines of `key: value`"))

    def _included(self, node: Node, source: Source, within: tuple[str, ...]) -> Iterator[tuple[Place, str, str]]:
        """(place of the include, name to show, absolute path) of each file, in order, cycles and repetitions out."""
        if not isinstance(node, Sequence):
            node = Sequence(node.place, [])  # told by the model, which wants a list
        for item in node.items:
            if not isinstance(item, Scalar) or not isinstance(item.value, Text) or item.broken:
                continue  # likewise
            pattern = item.value.resolve()
            if not item.value:
                self._fault(item.place, "a path may not be empty")
                continue
            if len(within) > MAX_INCLUDE_DEPTH:
                self._fault(item.place, f"includes nest deeper than {MAX_INCLUDE_DEPTH} files")
                return
            paths = self.inputs.matched(pattern) if glob.has_magic(item.value) else [pattern]
            for path in paths:
                identity = os.path.realpath(path)
                if identity in within:
                    what = "this file itself" if identity == within[-1] else "a file that leads here"
                    self._fault(item.place, f"includes {what}")
                elif identity not in self._seen:
                    yield item.place, _name(source, path), path

    def _joined(self, ours: Mapping, theirs: Mapping, path: KeyPath) -> Mapping:
        """Both as one. What came from a file is copied first, because an alias may show it elsewhere too."""
        joined = ours if ours.joined else Mapping(ours.place, dict(ours.entries), joined=True)
        for key, entry in theirs.entries.items():
            mine = joined.entries.get(key)
            joined.entries[key] = entry if mine is None else self._joined_entry(mine, entry, (*path, key))
        return joined

    def _joined_entry(self, mine: Entry, other: Entry, path: KeyPath) -> Entry:
        a, b = mine.node, other.node
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            return Entry(mine.key, self._joined(a, b, path))
        if isinstance(a, Sequence) and isinstance(b, Sequence):
            if not a.joined:
                a = Sequence(a.place, list(a.items), joined=True)
            a.items += b.items
            return Entry(mine.key, a)
        same = isinstance(a, Scalar) and isinstance(b, Scalar) and a.value == b.value and type(a.value) is type(b.value)
        if not same:
            self.problems.append(Problem(other.key, dotted(path), f"{mine.key} already says otherwise"))
        return mine

    def _fault(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, "include", message))
        self.whole = False


def _text(name: str, path: str, data: bytes) -> str:
    """The file's text; Unusable when it is too large or not UTF-8."""
    start = Place(Source(name, path, ""), 1, 1)
    if len(data) > MAX_FILE_BYTES:
        raise Unusable(Problem(start, "", f"larger than {MAX_FILE_BYTES // 2**20} MiB"))
    for mark, encoding in _OTHER_ENCODINGS:
        if data.startswith(mark):
            raise Unusable(Problem(start, "", f"the file is {encoding}; save it as UTF-8"))
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = _place_of(Source(name, path, data.decode("utf-8", "replace")), len(data[: error.start].decode("utf-8")))
        message = f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise Unusable(Problem(place, "", message)) from None


def _place_of(source: Source, index: int) -> Place:
    line, start = 1, 0
    for found in LINE_BREAK.finditer(source.text, 0, index):
        line, start = line + 1, found.end()
    return Place(source, line, index - start + 1)


def _name(source: Source, path: str) -> str:
    """`path` as the operator would write it: relative when the includer was named so."""
    if os.path.isabs(source.name) or source.name == "<stdin>":
        return _printable(path)
    relative = os.path.join(os.path.dirname(source.name), os.path.relpath(path, source.folder))
    return _printable(os.path.normpath(relative))


def _printable(path: str) -> str:
    """A file's name may hold bytes that are not UTF-8; those cannot be written to a log."""
    return path.encode("utf-8", "replace").decode("utf-8")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
