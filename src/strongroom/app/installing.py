"""Make an installation, and open one."""

import base64
import os
import re
import secrets
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import yaml

from strongroom.app.client_files import write_credentials, write_private
from strongroom.app.databases import audit_archive, create_storage, open_storage, read_domain_keys
from strongroom.app.hardware import new_protection, opened_protection
from strongroom.app.recorded_change import commit_recorded
from strongroom.app.serving_lock import serving
from strongroom.audit.record import service_event
from strongroom.audit.writer import AuditLog
from strongroom.clock import read_clocks
from strongroom.config import Config, Listen, Postgresql, read_config
from strongroom.config import Hsm as HsmConfig
from strongroom.crypto.public_keys import public_key_to_pem
from strongroom.errors import ConfigurationError, DataDirectoryError
from strongroom.keystores.domain_keys import DomainKeys, generate_domain_keys, recovery_fingerprint
from strongroom.keystores.hsm.opening import Hsm
from strongroom.keystores.hsm.recovery import for_holder, read_public_key, rsa_public_key
from strongroom.model.clock_reading import ClockReading
from strongroom.model.installation import Installation
from strongroom.model.principal import AccessKey, Account
from strongroom.model.regions import REGIONS
from strongroom.model.xks import XksCredential
from strongroom.storage.contract import Insert, Record
from strongroom.storage.database import DatabaseStorage
from strongroom.storage.postgresql import has_password

CONFIGURATION = "strongroom.yaml"


class Opened(NamedTuple):
    """An installation with its keys open. `installation` is as the database has it, not yet proven."""

    config: Config
    storage: DatabaseStorage
    domain_keys: DomainKeys
    installation: Installation
    hsm: Hsm | None

    def close(self) -> None:
        """Close the database, and the HSM."""
        self.storage.close()
        if self.hsm is not None:
            self.hsm.token.close()

    def __repr__(self) -> str:
        return f"Opened({self.installation.installation_id})"


class Made(NamedTuple):
    """A new installation: where, for which account, and what tells its recoverable keys from others (64 hex digits)."""

    data: Path
    account: str
    recovery_fingerprint: str | None


def is_installed(data: Path) -> bool:
    """Whether `data` holds an installation: its configuration is the last thing that `initialize` puts there."""
    return (data / CONFIGURATION).is_file()


def initialize(  # noqa: PLR0913 — what `init` is told
    data: Path,
    *,
    region: str,
    port: int,
    account: str | None,
    hsm: HsmConfig | None = None,
    recovery_key: Path | None = None,
    postgresql: str | None = None,
    now: float,
) -> Made:
    """Make an installation in `data`, whole or not at all.

    All is made in a directory beside it, which then takes its name. `data` must be missing or empty. With `hsm` its
    domain keys are made in that token, and there is no root key file; `recovery_key` is the public half of one (PEM).
    `postgresql` is the URL of an empty database; without it there is an SQLite file.
    Raises DataDirectoryError, ConfigurationError, StorageError or HsmError.
    """
    account = account_number(account)
    check_region(Config(region=region))
    if postgresql is not None and has_password(postgresql):
        raise ConfigurationError("a password on the command line is seen by others: name a file in the URL (passfile=)")
    if recovery_key is not None and hsm is None:
        raise ConfigurationError("a recovery key is for an HSM: keys under a root key file need none")
    recovery = None if recovery_key is None else read_public_key(recovery_key.read_bytes())
    if is_installed(data):
        raise DataDirectoryError(f"{data} is an installation already")
    data = data.absolute()
    building = data.with_name(f"{data.name}.unfinished-{secrets.token_hex(4)}")
    try:
        if data.exists() and any(data.iterdir()):
            raise DataDirectoryError(f"{data} is not empty and holds no {CONFIGURATION}: name another directory")
        building.mkdir(mode=0o700, parents=True)
        config = Config(
            data=building,
            listen=Listen(port=port),
            region=region,
            hsm=hsm,
            postgresql=None if postgresql is None else Postgresql(postgresql),
        )
        fingerprint = _build(config, account=account, recovery=recovery, now=now)
        building.rename(data)
        _sync(data.parent)
    except OSError as error:
        raise DataDirectoryError(f"cannot make {data}: {error.strerror}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Made(data, account, fingerprint)


def account_number(account: str | None) -> str:
    """The number of an account that is asked for: 12 digits, random if None. Raises ConfigurationError."""
    if account is None:
        return "".join(secrets.choice("0123456789") for _ in range(12))
    if re.fullmatch("[0-9]{12}", account) is None:
        raise ConfigurationError(f"account {account!r} is not 12 digits")
    return account


def new_access_key(
    domain_keys: DomainKeys, account: str, now: float, *, service: str | None = None
) -> tuple[AccessKey, str]:
    """Make an access key of an account's root user, or of a service; return it as it is stored, and its secret."""
    access_key_id = "AKIA" + base64.b32encode(secrets.token_bytes(10)).decode()
    secret = base64.b64encode(secrets.token_bytes(30)).decode()
    sealed = domain_keys.seal_secret(secret.encode(), account=account, access_key_id=access_key_id)
    return AccessKey(access_key_id, account, now, sealed, service=service), secret


def open_installation(config: Config) -> Opened:
    """Open the database with the keys that the root key file opens, or the HSM; the root key is dropped again.

    Raises DataDirectoryError, RootKeyError, HsmError or StorageError, each in one line.
    """
    check_region(config)
    _check_data_directory(config.data)
    installation_id, records = read_domain_keys(config)
    with opened_protection(config, installation_id, records) as protection:
        domain_keys = DomainKeys.open(protection.root, installation_id, records)
        storage = open_storage(config, domain_keys.row_authentication)
        found = storage.find(Installation, (installation_id,))
        if found is None:
            raise DataDirectoryError(f"{storage.name} does not name its installation")
    return Opened(config, storage, domain_keys, found[0], protection.hsm)


@contextmanager
def opened_to_change(config: Config) -> Iterator[Opened]:
    """Open an installation, with what is stored proven, for a command that changes it.

    Raises as `open_installation` does, and ConfigurationError while it is being moved.
    """
    with serving(config):
        opened = open_installation(config)
        try:
            opened.storage.load()
            yield opened
        finally:
            opened.close()


def served_regions(config: Config) -> frozenset[str]:
    """The Regions that are served, each a namespace of its own."""
    return frozenset(config.regions or REGIONS)


def check_region(config: Config) -> None:
    """Raise ConfigurationError if the default Region is not served."""
    if config.region not in served_regions(config):
        raise ConfigurationError(f"region {config.region} is not among the Regions served")


def audit_log(opened: Opened) -> AuditLog:
    """The installation's audit log, for a writer on this node."""
    return AuditLog(
        directory=opened.config.audit_directory,
        installation=opened.installation,
        digest_key=opened.domain_keys.digest_signing_key,
        storage=opened.storage,
        node_id=opened.config.node or machine_name(),
        archive=audit_archive(opened.config, opened.storage),
    )


def machine_name() -> str:
    """This machine's name, of the characters that name a node."""
    return re.sub("[^A-Za-z0-9-]", "-", os.uname().nodename)[:64] or "node"


def _build(config: Config, *, account: str, recovery: bytes | None, now: float) -> str | None:
    data, installation_id = config.data, str(uuid.uuid4())
    with new_protection(config, installation_id) as root:
        new = generate_domain_keys(
            root, installation_id, now, in_hsm=config.hsm is not None, for_holder=_for_holder(recovery)
        )
        domain_records, chain_public_key, digest_public_key = new
        domain_keys = DomainKeys.open(root, installation_id, domain_records)
        config.audit_directory.mkdir(mode=0o700)
        storage = create_storage(config, domain_keys.row_authentication)
        installation = Installation(installation_id, now, chain_public_key, digest_public_key, now, recovery)
        access_key, secret = new_access_key(domain_keys, account, now)
        clocks = read_clocks()
        reading = ClockReading(clocks.boot_id, clocks.wall, clocks.boot, clocks.wall)
        records: list[Record] = [installation, *domain_records, Account(account, now), access_key, reading]
        opened = Opened(config, storage, domain_keys, installation, None)
        event = service_event(
            name="Initialize",
            event_id=str(uuid.uuid4()),
            now=now,
            details={"installationId": installation_id, "account": account, "accessKeyId": access_key.access_key_id},
        )
        commit_recorded(audit_log(opened), event, [Insert(record) for record in records], storage.commit)
        storage.close()
        write_private(data / "audit-public-key.pem", public_key_to_pem(digest_public_key).decode())
        write_credentials(data, access_key_id=access_key.access_key_id, secret=secret, region=config.region)
        write_private(data / CONFIGURATION, configuration_text(config))
        read_config(data / CONFIGURATION)
        _sync(data)
    return None if recovery is None else recovery_fingerprint(domain_records)


def _for_holder(recovery: bytes | None) -> Callable[[bytes], bytes] | None:
    """What wraps secrets for the holder of the recovery key, if there is one."""
    return None if recovery is None else partial(for_holder, rsa_public_key(recovery))


def configuration_text(config: Config) -> str:
    """The configuration file of a new installation."""
    settings: dict[str, object] = {}
    if config.hsm is not None:
        settings["hsm"] = _settings(config.hsm)
    if config.postgresql is not None:
        settings["postgresql"] = {"url": config.postgresql.url}
    return (
        "# The configuration of a Strongroom installation. Paths are relative to this file.\n"
        "# docs/configuration.md tells every setting.\n"
        "data: .\n"
        f"listen: {{host: {config.listen.host}, port: {config.listen.port}}}\n"
        f"region: {config.region}\n" + (yaml.safe_dump(settings, sort_keys=False) if settings else "")
    )


def _settings(hsm: HsmConfig) -> dict[str, object]:
    """The section of the configuration that names an HSM."""
    pin = {name: str(value) for name, value in msgspec.structs.asdict(hsm.pin).items() if value is not None}
    allow = {"allow": list(hsm.allow)} if hsm.allow else {}
    return {"library": str(hsm.library), "token": hsm.token, "pin": pin, **allow}


def _check_data_directory(data: Path) -> None:
    try:
        mode = data.stat().st_mode
    except OSError as error:
        raise DataDirectoryError(f"cannot open the data directory {data}: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise DataDirectoryError(f"{data} is not a directory")
    if mode & 0o077:
        raise DataDirectoryError(f"{data} is open to other users: chmod 700 {data}")
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        raise DataDirectoryError(f"this user may not read and write {data}")


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_secret(opened: Opened, stored: AccessKey | XksCredential) -> str:
    """The secret of a stored access key or credential. Raises IntegrityError if it was altered or is another one's."""
    sealed, access_key_id = stored.sealed_secret, stored.access_key_id
    keys = opened.domain_keys
    if isinstance(stored, XksCredential):
        return keys.open_xks_secret(sealed, prefix=stored.prefix, access_key_id=access_key_id).decode()
    return keys.open_secret(sealed, account=stored.account, access_key_id=access_key_id).decode()
