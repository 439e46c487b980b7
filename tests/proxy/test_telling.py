"""An explanation as JSON: what is unknown is absent, and the servers stand as the workers see them."""

from __future__ import annotations

from terminator.config.model import TlsPolicy
from terminator.proxy.explanation import BackendNote, Explanation, ServerNote
from terminator.proxy.question import question
from terminator.proxy.telling import tell, with_states
from terminator.tls import proofs

ONE, TWO = "127.0.0.1:1", "127.0.0.1:2"


def told() -> dict[str, object]:
    servers = (ServerNote(ONE, 1, False, 0), ServerNote(TWO, 2, True, 5))
    story = Explanation(sni="a.test", backend=BackendNote("b", "round_robin", servers), policy=TlsPolicy())
    return tell(question("https://a.test/x"), story.ends("forwarded"), proofs.prove())


def test_absent_is_not_null() -> None:
    body = told()
    assert (body["url"], body["method"], body["outcome"]) == ("https://a.test/x", "GET", "forwarded")
    assert not {"client", "status", "error", "certificates", "policy"} & body.keys()
    tls = body["tls"]
    assert isinstance(tls, dict)
    assert tls["versions"] == "TLS 1.2 to 1.3"


def test_the_states_of_all_workers_are_joined() -> None:
    rows = [
        {"worker": 0, "backend": "b", "server": ONE, "state": "down", "reason": "check: refused", "in_flight": 0},
        {"worker": 1, "backend": "b", "server": ONE, "state": "down", "reason": None, "in_flight": 2},
        {"worker": 0, "backend": "b", "server": TWO, "state": "up", "in_flight": 1},
        {"worker": 1, "backend": "b", "server": TWO, "state": "down", "in_flight": 1},
        {"worker": 1, "backend": "other", "server": ONE, "state": "up", "in_flight": 9},
    ]
    one, two = with_states(told(), rows)["backend"]["servers"]
    assert (one["state"], one["reason"], one["in_flight"]) == ("down", "check: refused", 2)
    assert (two["state"], two["in_flight"]) == ("down/up, not the same in all workers", 2)


def test_without_a_backend_there_is_nothing_to_add() -> None:
    assert with_states({"outcome": "refused"}, []) == {"outcome": "refused"}
