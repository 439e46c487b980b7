"""A request told alike is, byte for byte, the line of the same request told in full."""

from __future__ import annotations

import os
import re
from dataclasses import fields, replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminator.config.model import Log
from terminator.telemetry.alike import RequestAlike, RequestsAlike
from terminator.telemetry.events import HttpRequest
from terminator.telemetry.journal import Journal

any_text = st.text(st.characters(exclude_categories=()), max_size=40)
a_text = st.one_of(any_text, st.just("/" + "long\x01é" * 300))
sizes = st.one_of(st.integers(0, 1 << 40), st.just(1 << 70))
seconds = st.one_of(st.just(0.0), st.floats(0, 1e-5), st.floats(0, 100), st.floats(0, 1e7))
PRESENT = {"method", "path", "status", "server", "response_bytes", "idle_ms", "response_ms", "transfer_ms", "total_ms"}
"""What a request has that went well over the lane."""

by_type = {"str": any_text, "int": sizes, "bool": st.booleans(), "float": st.floats(0, 1e9)}
firsts = st.builds(
    HttpRequest,
    **{
        each.name: found if each.name in PRESENT or "None" not in str(each.type) else st.none() | found
        for each in fields(HttpRequest)
        if (found := by_type[str(each.type).removesuffix(" | None")]) is not None and not each.name.startswith("error_")
    },
)
targets = st.tuples(any_text, a_text, st.none() | a_text)
later = st.tuples(targets, st.integers(100, 599), any_text, sizes, seconds, seconds, seconds, seconds)


def told(journal: Journal, read: int, events: list[RequestAlike]) -> tuple[list[bytes], list[bytes]]:
    """The lines of the events and those of the same in full, without the time."""
    written = []
    for kind in (events, [event.whole() for event in events]):
        for event in kind:
            journal.emit(event)
        assert not journal.flush()
        lines = os.read(read, 1 << 20).splitlines(keepends=True)
        assert len(lines) == len(events)
        written.append([re.sub(rb"[0-9-]{10}[T ][0-9:.]{12}([0-9]{3}Z)?", b"", line, count=1) for line in lines])
    return written[0], written[1]


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("place", ["file", "pipe"])  # a line for a pipe is shortened
@pytest.mark.parametrize("worker", [None, 3])
def test_the_line_is_that_of_the_whole(tmp_path: Path, form: str, place: str, worker: int | None) -> None:
    path = tmp_path / "log"
    if place == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
    read = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = Log.model_validate({"handshakes": "off", "requests": str(path), "lifecycle": "off", "format": form})
    journal = Journal(log, worker=worker, generation=lambda: 9)

    @settings(max_examples=30, deadline=None)
    @given(firsts, st.lists(later, min_size=1, max_size=3))
    def holds(first: HttpRequest, others: list[tuple[object, ...]]) -> None:
        like = RequestsAlike(first)
        alike, whole = told(journal, read, [RequestAlike(like, *values) for values in others])  # type: ignore[arg-type]
        assert alike == whole

    holds()
    journal.close()
    os.close(read)


def test_a_query_comes_and_goes_in_its_place(tmp_path: Path) -> None:
    journal = Journal(Log(handshakes="off", requests=str(tmp_path / "a"), lifecycle="off"))
    first = HttpRequest(method="GET", path="/", status=200, server="s", response_bytes=0, idle_ms=0.0, response_ms=0.0)
    like = RequestsAlike(replace(first, transfer_ms=0.0, total_ms=0.0))
    for number, query in enumerate((None, "a=b", None)):
        journal.emit(RequestAlike(like, ("GET", f"/{number}", query), 200, "s", 0, 0.0, 0.0, 0.0, 0.0))
    journal.close()
    lines = [orjson.loads(line) for line in (tmp_path / "a").read_bytes().splitlines()]
    assert [line.get("url.query") for line in lines] == [None, "a=b", None]
    assert [line["url.path"] for line in lines] == ["/0", "/1", "/2"]
    names = list(lines[1])
    assert names[names.index("url.path") + 1] == "url.query"
