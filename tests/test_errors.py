"""Every error says whose fault it is, under a token of its own, and what the client is told."""

from __future__ import annotations

import inspect

import pytest

from terminator import errors
from terminator.errors import BackendError, ClientError, TerminatorError
from terminator.wire import replies

ALL = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, TerminatorError)]
ANSWERED = sorted({each.status for each in ALL if each.status is not None})


@pytest.mark.parametrize("error", ALL)
def test_reasons_are_tokens_of_their_own(error: type[TerminatorError]) -> None:
    assert error.reason.replace("_", "").isalpha()
    assert error.reason.islower()
    sharing = {each for each in ALL if each.reason == error.reason}
    assert len(sharing) == 1 or any(all(issubclass(each, base) for each in sharing) for base in sharing)


@pytest.mark.parametrize("error", [each for each in ALL if issubclass(each, ClientError | BackendError)])
def test_a_clients_fault_is_4xx_and_a_backends_5xx(error: type[TerminatorError]) -> None:
    if error.status is not None and error.status not in (501, 505):  # what HTTP asks for unknown methods and versions
        assert error.status // 100 == (4 if issubclass(error, ClientError) else 5)


@pytest.mark.parametrize("status", ANSWERED)
def test_every_status_has_its_reply(status: int) -> None:
    reply = replies.reply(status, close=True, head_only=False, date=b"Thu, 01 Jan 1970 00:00:00 GMT")
    assert reply.startswith(b"HTTP/1.1 %d " % status)


def test_only_attempts_that_reached_nobody_are_unsent() -> None:
    unsent = {each.reason for each in ALL if getattr(each, "unsent", False)}
    assert unsent == {
        "backend_connect_failed", "backend_connect_timeout", "backend_unavailable", "backend_queue_full",
        "backend_queue_timeout", "out_of_resources",
    }  # fmt: skip
