"""Asking the running daemon: one HTTP request over its admin socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any

from terminator.config.files import gather
from terminator.config.load import load
from terminator.config.nodes import Mapping, Scalar, Text
from terminator.errors import ConfigError, TerminatorError

TIMEOUT_SECONDS = 600.0
"""A reload of thousands of certificates takes its time."""


class NotReachable(TerminatorError):
    """No daemon answers at the admin socket."""

    reason = "not_reachable"


def ask(method: str, target: str, socket_path: str, timeout_seconds: float = TIMEOUT_SECONDS) -> tuple[int, Any]:
    """(HTTP status, JSON value) of the daemon's answer; NotReachable says what to look at."""
    connection = _UnixConnection(socket_path, timeout_seconds)
    try:
        connection.request(method, target, headers={"Host": "terminator", "Connection": "close"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except FileNotFoundError as error:
        raise NotReachable(f"{socket_path}: no such socket; is the daemon running, with this admin.socket?") from error
    except ConnectionRefusedError as error:
        raise NotReachable(f"{socket_path}: nobody listens here; the daemon is not running") from error
    except PermissionError as error:
        raise NotReachable(f"{socket_path}: no right to use the socket; be root or a member of its group") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotReachable(f"{socket_path}: the daemon did not answer: {error or type(error).__name__}") from error
    finally:
        connection.close()


def socket_of(config_path: str) -> str:
    """The admin socket that this configuration names.

    Works as well for a configuration that is invalid elsewhere: the daemon is to be asked what it thinks of it.
    """
    try:
        path = load(config_path).config.admin.socket
    except ConfigError:
        path = _named_in(config_path)
        if path is None:
            raise
    if path is None:
        raise NotReachable(f"{config_path}: it has no admin.socket, so the daemon cannot be asked; set one and restart")
    return path


def _named_in(config_path: str) -> str | None:
    admin = gather(config_path, os.environ).root.entries.get("admin")
    if admin is None or not isinstance(admin.node, Mapping):
        return None
    entry = admin.node.entries.get("socket")
    if entry is None or not isinstance(entry.node, Scalar) or not isinstance(entry.node.value, Text):
        return None
    return entry.node.value.resolve()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
