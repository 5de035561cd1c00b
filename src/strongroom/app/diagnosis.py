"""What is wrong with a configuration or data directory, in plain words. Changes nothing; the server may be running."""

import shutil
from collections.abc import Callable
from typing import NamedTuple

from strongroom.app.history import refuse_rollback
from strongroom.app.installing import Opened, open_installation
from strongroom.config import Config
from strongroom.errors import OperatorError
from strongroom.wire.server import require_tls_off_loopback
from strongroom.wire.tls import Certificate

WELL = "well"
NOTE = "note"
WRONG = "WRONG"

_LOW_SPACE = 1 << 30
"""Bytes of free disk below which doctor warns: an hour of full load writes more audit records."""


class Finding(NamedTuple):
    """One thing looked at: `verdict` is WELL, NOTE or WRONG."""

    verdict: str
    text: str


def diagnose(config: Config) -> list[Finding]:
    """Look at everything in the order in which a start needs it; stop where the rest cannot be looked at."""
    findings = [_listening(config), *_tls(config), _space(config)]
    if config.audit.sync == "interval":
        findings.append(Finding(NOTE, "audit.sync is interval: a crash can lose the records of the last 100 ms"))
    try:
        opened = open_installation(config)
    except OperatorError as error:
        return [*findings, Finding(WRONG, str(error))]
    try:
        findings.append(Finding(WELL, "the root key opens the domain keys of this installation"))
        findings += _private_files(config)
        findings.append(_tried("the database is proven: every row, the feed and the checkpoint", lambda: _load(opened)))
        findings.append(_tried("the database is not behind the audit log", lambda: refuse_rollback(opened)))
        findings.append(_outbox(opened))
    finally:
        opened.storage.close()
    return findings


def _listening(config: Config) -> Finding:
    return _tried(
        f"serves on {config.endpoint}",
        lambda: require_tls_off_loopback(config.listen.host, tls=config.tls is not None),
    )


def _tls(config: Config) -> list[Finding]:
    tls = config.tls
    if tls is None:
        return []
    return [_tried("the TLS certificate and key can be used", lambda: Certificate(tls.certificate, tls.key))]


def _space(config: Config) -> Finding:
    try:
        free = shutil.disk_usage(config.data).free
    except OSError as error:
        return Finding(WRONG, f"cannot open the data directory {config.data}: {error.strerror}")
    verdict = WELL if free >= _LOW_SPACE else NOTE
    return Finding(verdict, f"{free / (1 << 30):.1f} GiB of disk are free for the database and the audit log")


def _private_files(config: Config) -> list[Finding]:
    """Files that others may read although only their owner should."""
    paths = (config.data / "credentials", config.data / "client.env", config.database, config.audit_directory)
    return [
        Finding(WRONG, f"{path} is open to other users: chmod go= {path}")
        for path in paths
        if path.exists() and path.stat().st_mode & 0o077
    ]


def _load(opened: Opened) -> None:
    opened.storage.load()


def _outbox(opened: Opened) -> Finding:
    waiting = len(opened.storage.outbox())
    if waiting:
        return Finding(
            NOTE, f"{waiting} audit records of changes wait in the outbox: a running server, or the next, chains them"
        )
    return Finding(WELL, "no audit record waits in the outbox")


def _tried(text: str, check: Callable[[], object]) -> Finding:
    try:
        check()
    except OperatorError as error:
        return Finding(WRONG, str(error))
    return Finding(WELL, text)
