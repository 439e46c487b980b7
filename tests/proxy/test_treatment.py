"""What a route does is settled once: own timeouts over shared ones, templates parsed, a prefix only where asked for."""

from __future__ import annotations

from typing import Any

import pytest

from terminator.config.model import Config, Host
from terminator.proxy.treatment import Treatment, host_variable, treatments


def treatment(route: dict[str, Any], **sections: Any) -> Treatment:
    config = Config.model_validate(
        {
            "version": 1,
            "listeners": [{"name": "https", "bind": "127.0.0.1:443"}],
            "hosts": [
                {"names": ["a.test"], "certificates": [{"chain": "/c", "key": "/k"}], "routes": [route]},
            ],
            "backends": {"web": {"servers": ["127.0.0.1:80"]}},
            **sections,
        }
    )
    host: Host = config.hosts[0]
    [found] = treatments(config, host).routes
    return found.action


def test_a_plain_route_has_nothing_to_do() -> None:
    plain = treatment({"path": "/", "backend": "web"}, timeouts={"body_idle": "7s"}, limits={"request_body": "5B"})
    assert (plain.name, plain.prefix, plain.rewrite, plain.request_rules, plain.location) == ("/", "", None, None, None)
    assert plain.patience.body_idle == 7
    assert plain.max_body_bytes == 5


def test_a_routes_own_values_come_first() -> None:
    own = treatment(
        {"path": "/a", "backend": "web", "timeouts": {"body_idle": "1s"}, "request_body": "9B", "strip_prefix": True},
        timeouts={"body_idle": "7s", "tunnel_idle": "8s"},
        limits={"request_body": "5B"},
    )
    assert (own.patience.body_idle, own.patience.tunnel_idle, own.max_body_bytes, own.prefix) == (1, 8, 9, "/a")


def test_no_limit_of_its_own_may_lift_the_shared_one() -> None:
    lifted = treatment({"path": "/", "backend": "web", "request_body": 0}, limits={"request_body": "5B"})
    assert lifted.max_body_bytes == 0


@pytest.mark.parametrize(("name", "text"), [("a.test", "a.test"), ("::1", "[::1]"), ("192.0.2.1", "192.0.2.1")])
def test_host_as_a_variable(name: str, text: str) -> None:
    assert host_variable(name) == text


@pytest.mark.parametrize(
    ("own", "constant"),
    [
        ({}, True),
        ({"headers": {"set": {"X-Env": "prod"}}}, True),
        ({"headers": {"set": {"X-Path": "{path}"}}}, False),
        ({"response_headers": {"remove": ["Server"]}}, False),
        ({"strip_prefix": True}, False),
        ({"rewrite": "/b{path}"}, False),
        ({"backend": None, "respond": {"status": 200}}, False),
    ],
)
def test_a_constant_route_changes_every_request_alike(own: dict[str, Any], constant: bool) -> None:
    assert treatment({"path": "/a", "backend": "web", **own}).constant is constant
