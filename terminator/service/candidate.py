"""Plan and judge: everything the daemon would run with, read once into one value, and compared with what runs."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from datetime import datetime

from terminator.config.inputs import Inputs
from terminator.config.load import Loaded, load
from terminator.config.model import Config
from terminator.errors import CertificateError, ConfigError
from terminator.service.difference import NEEDS_RESTART, Change, difference, needs_restart
from terminator.service.watch import Watch, watched_files
from terminator.tls import judgement
from terminator.tls.files import read_file
from terminator.tls.material import Materials, read_materials
from terminator.tls.tickets import MIN_SECRET_BYTES, secret_of_file


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration with all its files, read at one moment. `watch` knows how they stood before they were read."""

    config: Config
    materials: Materials
    watch: Watch
    warnings: tuple[str, ...]
    """What the configuration itself is warned of."""
    inputs: Inputs = field(repr=False)
    written: Config = field(repr=False)
    """What the files say; `config` is this with the running values of what needs a restart."""
    ticket_secret: bytes | None = field(default=None, repr=False)
    """What `tls.ticket_secret_file` holds."""
    restart: tuple[str, ...] = ()
    """Keys whose new value waits for a restart; `config` has the values that run."""
    changes: tuple[Change, ...] = field(default=())

    def is_same_as(self, running: Candidate) -> bool:
        """Whether nothing at all would change."""
        return not self.changes and _digests(self.materials) == _digests(running.materials)


def read(path: str, running: Candidate | None = None) -> Candidate:
    """Reads the configuration and every file it names; ConfigError with all faults at once.

    With `running`, what is unchanged is not parsed again: neither certificates nor the configuration, which is then the
    very object that runs; and the difference is told.
    """
    if running is not None and running.inputs.still(os.environ):
        with contextlib.suppress(ConfigError):  # found again below, where its place in the configuration is known
            return _complete(running.written, running.inputs, running.warnings, running)
    loaded = load(path)
    return _complete(loaded.config, loaded.inputs, loaded.warnings, running, loaded)


def _complete(
    written: Config,
    inputs: Inputs,
    warnings: tuple[str, ...],
    running: Candidate | None,
    loaded: Loaded | None = None,
) -> Candidate:
    """The configuration with the files it names, and its difference to what runs."""
    watch = Watch(watched_files(written))  # before the files are read: a change from now on is seen
    materials = read_materials(written, running.materials if running else None, loaded.locate if loaded else None)
    secret = _ticket_secret(written, loaded)
    if running is None:
        return Candidate(written, materials, watch, warnings, inputs, written, secret)
    restart = tuple(needs_restart(running.config, written))
    config = written
    if written is running.written:
        config = running.config
    elif restart:
        config = written.model_copy(update={key: getattr(running.config, key) for key in NEEDS_RESTART})
    changes = difference(running.config, config, running.materials, materials)
    if secret != running.ticket_secret:
        changes.append(Change("setting", "changed", "tls.ticket_secret_file", "tls.ticket_secret_file: other content"))
    return Candidate(config, materials, watch, warnings, inputs, written, secret, restart, tuple(changes))


def worse(candidate: Candidate, running: Candidate, now: datetime) -> list[str]:
    """Reasons why a certificate of `candidate` is worse than the one that serves: file, host and fault."""
    return judgement.worse_materials(candidate.materials, running.materials, now)


def warnings(candidate: Candidate, now: datetime) -> list[tuple[str, str]]:
    """(host, text) of all that serves although something is wrong with it."""
    return [
        (material.host, text)
        for material in candidate.materials.values()
        for text in judgement.host_warnings(material, now)
    ]


def _ticket_secret(config: Config, loaded: Loaded | None) -> bytes | None:
    path = config.tls.ticket_secret_file
    if path is None:
        return None
    try:
        secret = secret_of_file(read_file(path, "the ticket secret").data)
        if len(secret) < MIN_SECRET_BYTES:
            raise CertificateError(
                f"{path}: the ticket secret has {len(secret)} bytes, at least {MIN_SECRET_BYTES} are needed; make one: "
                "openssl rand -base64 48"
            )
    except CertificateError as error:
        problem = loaded.problem(("tls", "ticket_secret_file"), str(error)) if loaded is not None else error
        raise ConfigError([str(problem)]) from error
    return secret


def _digests(materials: Materials) -> dict[str, str]:
    return {host: material.digest for host, material in materials.items()}
