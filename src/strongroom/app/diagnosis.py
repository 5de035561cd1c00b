"""What is wrong with a configuration or data directory, in plain words. Changes nothing; the server may be running."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from strongroom.app.custom_key_stores import check_certificates, password_marker
from strongroom.app.history import missing_chains, refuse_rollback
from strongroom.app.installing import Opened, open_installation, served_regions
from strongroom.authorization.documents import compile_key_policy
from strongroom.clock import doubt, read_clocks
from strongroom.config import Config, Tls, XksProxyServer
from strongroom.errors import ConfigurationError, MalformedPolicyDocument, OperatorError
from strongroom.keystores.cluster.store import absence
from strongroom.keystores.domain_keys import recovery_fingerprint
from strongroom.keystores.hsm.capabilities import WEAKER_WAYS
from strongroom.model.clock_reading import ClockReading
from strongroom.model.custom_key_store import CustomKeyStore
from strongroom.model.domain_key import DomainKey
from strongroom.model.key import KmsKey
from strongroom.model.regions import REGIONS
from strongroom.wire.server import bind, require_tls_off_loopback
from strongroom.wire.tls import Certificate

WELL = "well"
NOTE = "note"
WRONG = "WRONG"

_LOW_SPACE = 1 << 30
"""Bytes of free disk below which doctor warns: an hour of full load writes more audit records."""
_NO_SPACE = 16 << 20
"""Bytes of free disk below which requests are about to fail, if they do not already."""


class Finding(NamedTuple):
    """One thing looked at: `verdict` is WELL, NOTE or WRONG."""

    verdict: str
    text: str


def diagnose(config: Config) -> list[Finding]:
    """Look at everything in the order in which a start needs it; stop where the rest cannot be looked at."""
    certificates = [*_tls("the TLS", config.tls), *_tls("the XKS proxy's TLS", config.xks_proxy.tls)]
    listening = [_listening(config), *_proxy_listening(config.xks_proxy), *_telling(config)]
    findings = [*listening, *certificates, _space(config)]
    if config.audit.sync == "interval":
        findings.append(Finding(NOTE, "audit.sync is interval: a crash can lose the records of the last 100 ms"))
    try:
        opened = open_installation(config)
    except OperatorError as error:
        return [*findings, Finding(WRONG, str(error))]
    try:
        findings += _protection(opened)
        findings += _private_files(config)
        findings.append(_tried("the database is proven: every row, the feed and the checkpoint", opened.storage.load))
        findings.append(_tried("the database is not behind the audit log", lambda: refuse_rollback(opened)))
        findings.append(_tried("no row of the outbox was altered", opened.storage.outbox))
        findings += _policies(opened)
        findings += _regions(opened)
        findings += _custom_key_stores(opened)
        findings.append(_log(opened))
        findings.append(_clock(opened))
    finally:
        opened.close()
    return findings


def _protection(opened: Opened) -> list[Finding]:
    if opened.hsm is None:
        return [Finding(WELL, "the root key opens the domain keys of this installation")]
    findings = [Finding(WELL, "the HSM holds the domain keys of this installation, and passes its test")]
    if opened.installation.backup_verified is None:
        text = "no second token is known to hold the same keys: `strongroom hsm verify-backup`; if this one is lost"
        lost = "everything is lost" if opened.installation.recovery_public_key is None else "the recovery key is needed"
        findings.append(Finding(NOTE, f"{text}, {lost}"))
    else:
        seen = time.strftime("%Y-%m-%d", time.gmtime(opened.installation.backup_verified))
        findings.append(Finding(WELL, f"a second token was seen to hold the same keys on {seen}"))
    if opened.installation.recovery_public_key is not None:
        fingerprint = recovery_fingerprint(record for record, _ in opened.storage.find_all(DomainKey))
        findings.append(Finding(WELL, f"with the recovery key: fingerprint {fingerprint}"))
    assert opened.config.hsm is not None, "it was opened by it"
    return findings + [Finding(NOTE, f"hsm.allow: {WEAKER_WAYS[way]}") for way in opened.config.hsm.allow]


def _listening(config: Config) -> Finding:
    """Whether it could serve where it is told to. A port that is taken may well be taken by our own server."""
    try:
        require_tls_off_loopback(config.listen.host, tls=config.tls is not None)
        bind(config.listen.host, config.listen.port).close()
    except ConfigurationError as error:
        verdict = NOTE if "in use" in str(error) else WRONG
        return Finding(verdict, str(error))
    return Finding(WELL, f"can serve on {config.endpoint}; nobody does now")


def _proxy_listening(proxy: XksProxyServer) -> list[Finding]:
    """What is wrong with where the XKS proxy is to serve. Its port is not tried: it may not be served at all."""
    try:
        require_tls_off_loopback(proxy.host, tls=proxy.tls is not None)
    except ConfigurationError as error:
        return [Finding(WRONG, f"the XKS proxy: {error}")]
    return []


def _telling(config: Config) -> list[Finding]:
    """Whether health and metrics are told to other machines."""
    told = {"health": config.health, "xks_proxy.health": config.xks_proxy.health}
    findings = []
    for name, health in told.items():
        try:
            require_tls_off_loopback(health.host if health is not None else "localhost", tls=False)
        except ConfigurationError:
            text = "whoever reaches it reads, in the clear, how much is asked and what fails"
            findings.append(Finding(NOTE, f"{name}.host is not a loopback address: {text}"))
    return findings


def _tls(whose: str, tls: Tls | None) -> list[Finding]:
    if tls is None:
        return []
    return [_tried(f"{whose} certificate and key can be used", lambda: Certificate(tls.certificate, tls.key))]


def _space(config: Config) -> Finding:
    try:
        free = shutil.disk_usage(config.data).free
    except OSError as error:
        return Finding(WRONG, f"cannot open the data directory {config.data}: {error.strerror}")
    verdict = WRONG if free < _NO_SPACE else NOTE if free < _LOW_SPACE else WELL
    return Finding(verdict, f"{free >> 20:,} MiB of disk are free for the database and the audit log")


def _private_files(config: Config) -> list[Finding]:
    """Files that others may read although only their owner should."""
    paths = (config.data / "credentials", config.data / "client.env", config.database, config.audit_directory)
    missing = [] if paths[0].exists() else [Finding(NOTE, f"{paths[0]} is gone: it alone holds the root credential")]
    return missing + [
        Finding(WRONG, f"{path} is open to other users: chmod go= {path}")
        for path in paths
        if path.exists() and path.stat().st_mode & 0o077
    ]


def _policies(opened: Opened) -> list[Finding]:
    """The keys whose policies an older version took and this one does not."""
    findings = []
    try:
        keys = opened.storage.find_all(KmsKey)
    except OperatorError:
        return []  # it was told of already
    for key, _ in keys:
        try:
            compile_key_policy(key.policy)
        except MalformedPolicyDocument as error:
            reason = error.message or "it is not JSON"
            findings.append(Finding(WRONG, f"the policy of {key.arn} cannot be read ({reason}): put another one"))
    return findings


def _regions(opened: Opened) -> list[Finding]:
    """Regions that AWS does not have, and Regions with keys that nobody can ask for."""
    served = served_regions(opened.config)
    findings = [
        Finding(NOTE, f"AWS has no Region {region}: SDKs may refuse it") for region in sorted(served - {*REGIONS})
    ]
    try:
        counts = Counter(key.region for key, _ in opened.storage.find_all(KmsKey) if key.region not in served)
    except OperatorError:
        return findings  # it was told of already
    return findings + [
        Finding(NOTE, f"Region {region} is not served: nobody can use or manage its {count} KMS keys")
        for region, count in sorted(counts.items())
    ]


def _custom_key_stores(opened: Opened) -> list[Finding]:
    """Certificates that cannot be read, and custom key stores of what is not in the configuration."""
    config = opened.config
    findings = []
    if config.hsm_clusters or config.xks_proxies:
        text = "the certificates of hsm_clusters and xks_proxies can be read"
        findings.append(_tried(text, lambda: check_certificates(config)))
    for cluster_id, cluster in config.hsm_clusters.items():
        missing = absence(cluster.library, cluster.token)
        well = f"HSM cluster {cluster_id} is there: token {cluster.token!r}"
        findings.append(
            Finding(WELL, well) if missing is None else Finding(WRONG, f"HSM cluster {cluster_id}: {missing}")
        )
    try:
        stores = [store for store, _ in opened.storage.find_all(CustomKeyStore)]
    except OperatorError:
        return findings  # it was told of already
    for store in stores:
        backing = store.cluster_id or store.uri_endpoint
        if backing not in config.hsm_clusters and backing not in config.xks_proxies:
            text = f"{backing} is not in the configuration: nobody can use the keys of {store.custom_key_store_id}"
            findings.append(Finding(NOTE, text))
        elif store.is_cluster and password_marker(config, store).exists():
            text = f"the password of {store.custom_key_store_id} was refused: disconnect it, and give the right one"
            findings.append(Finding(WRONG, text))
        if store.error_code is not None:
            findings.append(Finding(NOTE, f"{store.custom_key_store_id} could not be connected: {store.error_code}"))
    return findings


def _log(opened: Opened) -> Finding:
    try:
        missing = missing_chains(opened)
    except OperatorError as error:
        return Finding(WRONG, str(error))
    if missing:
        return Finding(WRONG, f"the audit log of {len(missing)} chains is missing, of {missing[0]} first")
    return Finding(WELL, "no chain of the audit log is missing; `strongroom audit verify` proves what is in them")


def _clock(opened: Opened) -> Finding:
    try:
        doubtful = doubt(read_clocks(), opened.storage.find_all(ClockReading))
    except OperatorError as error:
        return Finding(WRONG, str(error))
    if doubtful is None:
        return Finding(WELL, "the clock can be trusted with deletion, expiry and automatic rotation")
    return Finding(
        NOTE, f"{doubtful}: all that goes by date waits for `strongroom confirm-time --config FILE --date D`"
    )


def _tried(text: str, check: Callable[[], object]) -> Finding:
    try:
        check()
    except OperatorError as error:
        return Finding(WRONG, str(error))
    return Finding(WELL, text)
