"""The listening sockets: bound here or adopted from systemd, all held by the master.

A TCP listener has one SO_REUSEPORT socket per worker: the kernel spreads connections over them, no worker is woken for
another's connection, and since the master holds them all, the queue of a worker that died waits for its replacement.
Inherited sockets and unix sockets cannot be multiplied; they are shared by all workers.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field, replace

from terminator.config.model import Listener
from terminator.config.values import Address, SystemdSocket, TcpAddress, UnixAddress
from terminator.errors import StartError

FIRST_INHERITED_FD = 3
KEPT_PREFIX = "kept-"
"""Names of sockets that an earlier process of ours bound and the service manager kept over a restart."""
LISTENER_MODE = 0o666
"""A unix listener is as open as a TCP port is; who may reach it is decided by the rights of its folder."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A listener's sockets: `per_worker[n]` are those of worker n, or `shared` those of all."""

    config: Listener
    shared: tuple[socket.socket, ...] = ()
    per_worker: tuple[tuple[socket.socket, ...], ...] = ()
    unlink: tuple[str, int] | None = field(default=None)
    """(path, inode) of a unix socket that is ours to remove."""

    def sockets_of(self, worker: int) -> tuple[socket.socket, ...]:
        return self.shared or self.per_worker[worker]

    def every_socket(self) -> tuple[socket.socket, ...]:
        return self.shared + tuple(sock for sockets in self.per_worker for sock in sockets)

    def address(self) -> str:
        """Where it really listens, for people."""
        return describe(self.every_socket()[0])

    def listen(self) -> None:
        """From now on the kernel queues connections, as many as `backlog` says; once more to change that. Raises
        StartError. The queue of an inherited socket is the service manager's matter."""
        if not isinstance(self.config.bind, SystemdSocket):
            for sock in self.every_socket():
                try:
                    sock.listen(self.config.backlog)
                except OSError as error:
                    raise _refused(self.config.bind, error) from error

    def with_config(self, config: Listener) -> Bound:
        """The same sockets under other settings."""
        return replace(self, config=config)

    def close(self) -> None:
        """Closes what was bound here; an inherited socket stays open, another reload may want it again."""
        if not isinstance(self.config.bind, SystemdSocket):
            for sock in self.every_socket():
                sock.close()
        if self.unlink is not None:
            remove_socket_file(*self.unlink)


def inode(path: str) -> int:
    """What tells our socket file from a successor's at the same path."""
    return os.stat(path).st_ino


def remove_socket_file(path: str, inode: int) -> None:
    """Removes a unix socket's file unless a successor has put its own there."""
    try:
        if os.stat(path).st_ino == inode:
            os.unlink(path)
    except OSError:
        return


def bind(listener: Listener, workers: int, inherited: Inherited, *, beside_our_own: bool = False) -> Bound:
    """Binds (or adopts) all sockets of a listener. Raises StartError, which names the address and the remedy.

    TCP sockets do not listen yet (`Bound.listen`): what is bound for a reload that comes to nothing, or for a dry run,
    must not take connections away from sockets that serve an overlapping address.
    `beside_our_own`: sockets of ours may still hold the port; a stranger's is then not looked for.
    """
    where = listener.bind
    if isinstance(where, SystemdSocket):
        return Bound(listener, shared=inherited.named(where.name))
    if isinstance(where, UnixAddress):
        sock = bind_unix(where.path, LISTENER_MODE, listener.backlog)
        return Bound(listener, shared=(sock,), unlink=(where.path, inode(where.path)))
    return Bound(listener, per_worker=_bind_tcp(where, workers, inherited, not beside_our_own))


def bind_unix(path: str, mode: int, backlog: int, owner: tuple[int, int] = (-1, -1)) -> socket.socket:
    """A listening unix socket with exactly these rights from its first moment on. A socket file that a dead process
    left behind is replaced; any other file is not touched."""
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(path)
        if owner != (-1, -1):
            os.chown(path, *owner)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise _refused(UnixAddress(path), error) from error
    finally:
        os.umask(before)
    return sock


def bind_one(address: TcpAddress, backlog: int) -> tuple[socket.socket, ...]:
    """The listening sockets of an address that one process serves: several when a host name has several addresses."""
    (sockets,) = _bind_tcp(address, 1)
    try:
        for sock in sockets:
            sock.listen(backlog)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise _refused(address, error) from error
    return sockets


class Inherited:
    """The sockets that the service manager handed over (sd_listen_fds(3)), by their FileDescriptorName."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Takes the variables out of `environ`, so that no child believes that they are its own."""
        pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
        environ.pop("LISTEN_PIDFDID", None)
        self._sockets: list[tuple[str, socket.socket]] = []
        self.other_fds: dict[str, int] = {}
        """What is no listening socket: things kept over a restart in the manager's store."""
        if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
            return
        labels = names.split(":") if names else []
        for offset in range(int(count)):
            fd = FIRST_INHERITED_FD + offset
            name = labels[offset] if offset < len(labels) else "unknown"
            try:
                os.set_inheritable(fd, False)
            except OSError as error:
                raise StartError(f"LISTEN_FDS={count}, but descriptor {fd} is not open ({error.strerror})") from error
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                self.other_fds[name] = fd
                continue
            sock = socket.socket(fileno=fd)
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                sock.setblocking(False)
                self._sockets.append((name, sock))
            else:
                sock.close()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self._sockets]

    def close(self) -> None:
        """Lets go of our copies; the service manager keeps its own."""
        self.drop_kept()
        for _, sock in self._sockets:
            sock.close()
        for fd in self.other_fds.values():
            os.close(fd)

    def take_kept(self, place: tuple[object, ...]) -> list[socket.socket]:
        """The sockets bound to this place that were kept over a restart; they are the caller's from now on."""
        taken = [sock for name, sock in self._sockets if name.startswith(KEPT_PREFIX) and sock.getsockname() == place]
        self._sockets = [entry for entry in self._sockets if entry[1] not in taken]
        return taken

    def drop_kept(self) -> None:
        """Closes kept sockets that no listener has taken: their address is no longer configured."""
        for name, sock in self._sockets:
            if name.startswith(KEPT_PREFIX):
                sock.close()
        self._sockets = [entry for entry in self._sockets if not entry[0].startswith(KEPT_PREFIX)]

    def named(self, name: str) -> tuple[socket.socket, ...]:
        """All sockets of this name, at least one; else StartError."""
        found = tuple(sock for each, sock in self._sockets if each == name)
        if not found:
            given = f"it gave {', '.join(sorted(set(self.names)))}" if self._sockets else "it gave none"
            raise StartError(
                f"systemd:{name}: the service manager gave no socket of this name, {given}; "
                f"write FileDescriptorName={name} in the .socket unit"
            )
        return found


def describe(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return str(UnixAddress(os.fsdecode(name)))
    return str(TcpAddress(name[0], name[1]))


def _bind_tcp(
    address: TcpAddress, workers: int, inherited: Inherited | None = None, probe: bool = True
) -> tuple[tuple[socket.socket, ...], ...]:
    places = _resolve(address)
    kept = [sock for _, place in places for sock in inherited.take_kept(place)] if inherited is not None else []
    opened: list[socket.socket] = []
    try:
        for family, place in places if probe and not kept else ():
            # With SO_REUSEPORT a second daemon of the same user would bind without an error and take half of the
            # connections in silence. A socket without it finds whoever is there already.
            _tcp_socket(family, place, reuse_port=False).close()
        sockets: list[list[socket.socket]] = [[] for _ in range(workers)]
        for family, place in places:
            # Connections may wait in every kept socket, so each gets a worker even where there are fewer than before.
            found = [sock for sock in kept if sock.getsockname() == place]
            for number in range(max(workers, len(found))):
                sock = found[number] if number < len(found) else _tcp_socket(family, place, reuse_port=True)
                opened.append(sock)
                sockets[number % workers].append(sock)
    except OSError as error:
        for sock in opened:
            sock.close()
        raise _refused(address, error) from error
    return tuple(tuple(own) for own in sockets)


def _tcp_socket(family: int, place: tuple[object, ...], *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:  # `[::]` serves IPv4 too, whatever net.ipv6.bindv6only says
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if place[0] == "::" else 1)
        sock.bind(place)
        if not reuse_port:
            sock.listen(1)  # two sockets with SO_REUSEADDR collide only where one listens
    except OSError:
        sock.close()
        raise
    return sock


def _resolve(address: TcpAddress) -> Sequence[tuple[int, tuple[object, ...]]]:
    host = address.host
    if not host:
        host = "::" if _ipv6_exists() else "0.0.0.0"
    flags = socket.AI_PASSIVE | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=flags)
    except socket.gaierror as error:
        raise StartError(f"{address}: the name has no address on this machine ({error.strerror})") from error
    return list(dict.fromkeys((family, place) for family, _, _, _, place in found))


def _ipv6_exists() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise StartError(f"unix:{path}: something that is no socket stands here; remove it or choose another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            if error.errno != errno.EAGAIN:  # EAGAIN: somebody listens, with a full queue
                raise _refused(UnixAddress(path), error) from error
    raise StartError(f"unix:{path}: another process listens here; stop it or choose another path")


def _refused(address: Address, error: OSError) -> StartError:
    match error.errno:
        case errno.EADDRINUSE:
            return StartError(
                f"{address}: the address is in use by another process (`ss -ltnp` names it); stop it or change bind"
            )
        case errno.EACCES | errno.EPERM if isinstance(address, UnixAddress):
            return StartError(f"{address}: no right to create a socket in this folder ({error.strerror})")
        case errno.EACCES | errno.EPERM:
            return StartError(
                f"{address}: no right to bind a port below 1024; start by a systemd socket (bind: systemd:NAME), "
                "give CAP_NET_BIND_SERVICE, or choose a port from 1024"
            )
        case errno.EADDRNOTAVAIL:
            return StartError(f"{address}: this machine does not have the address; `ip address` lists those it has")
        case errno.ENOENT:
            return StartError(f"{address}: the folder does not exist; create it or choose another")
        case errno.EAFNOSUPPORT:
            return StartError(f"{address}: this machine has no IPv6; bind an IPv4 address, for example 0.0.0.0:443")
    return StartError(f"{address}: {error.strerror}")
