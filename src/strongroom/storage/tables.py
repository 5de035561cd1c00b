"""The tables, and how a record becomes a row of its table.

A record's table has one column per field of its struct, of the same name and in the same order, then `number` (the
change that wrote the row) and `mac` (see `row_authentication`). Nothing here is particular to one database system.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, MetaData, Table, Text

from strongroom.model.alias import Alias
from strongroom.model.clock_reading import ClockReading
from strongroom.model.custom_key_store import CustomKeyStore
from strongroom.model.domain_key import DomainKey
from strongroom.model.erasure import PendingErasure
from strongroom.model.grant import Grant, GrantConstraints
from strongroom.model.iam import Group, IdentityProvider, ManagedPolicy, PolicyVersion, Role, User
from strongroom.model.installation import Installation
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.model.key_usage import KeyUsage
from strongroom.model.principal import AccessKey, AccessKeyUsage, Account, Service
from strongroom.model.xks import AttachedObject, ExternalKey, XksCredential, XksStore
from strongroom.storage.column_types import ANY_TEXT
from strongroom.storage.contract import R, Record

Cell = str | int | float | bytes | bool | None
Row = Mapping[str, Cell]
Key = tuple[str | int, ...]

REVISION: Final = "0012"
"""The newest migration: the schema that this module describes."""

METADATA: Final = MetaData()


def _text(name: str, *, key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, ANY_TEXT, primary_key=key, nullable=nullable)


def _number(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=False, autoincrement=False)


def _time(name: str, *, nullable: bool = False) -> Column[float]:
    return Column(name, Double, nullable=nullable)


def _blob(name: str, *, nullable: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=nullable)


INSTALLATION: Final = Table(
    "installation",
    METADATA,
    _text("installation_id", key=True),
    _time("created"),
    _blob("chain_public_key"),
    _blob("digest_public_key"),
    _time("usage_tracked_since", nullable=True),
    _blob("recovery_public_key", nullable=True),
    _time("backup_verified", nullable=True),
    _number("number"),
    _blob("mac"),
)

DOMAIN_KEYS: Final = Table(
    "domain_keys",
    METADATA,
    _text("purpose", key=True),
    Column("version", Integer, primary_key=True, nullable=False, autoincrement=False),
    _time("created"),
    _blob("wrapped"),
    _blob("recovery", nullable=True),
    _number("number"),
    _blob("mac"),
)

ACCOUNTS: Final = Table(
    "accounts",
    METADATA,
    _text("account", key=True),
    _time("created"),
    _time("sessions_not_before", nullable=True),
    _number("number"),
    _blob("mac"),
)

ACCESS_KEYS: Final = Table(
    "access_keys",
    METADATA,
    _text("access_key_id", key=True),
    _text("account"),
    _time("created"),
    _blob("sealed_secret"),
    _text("user_id", nullable=True),
    _text("service", nullable=True),
    _time("deactivated", nullable=True),
    _number("number"),
    _blob("mac"),
)

ACCESS_KEY_USAGES: Final = Table(
    "access_key_usages",
    METADATA,
    _text("access_key_id", key=True),
    _time("used"),
    _text("region"),
    _text("service"),
    _number("number"),
    _blob("mac"),
)

# Of the tables below: tags and policies are JSON, [[key, value], …]; what else has several values is JSON, [value, …].
USERS: Final = Table(
    "users",
    METADATA,
    _text("account", key=True),
    _text("user_id", key=True),
    _text("name"),
    _text("path"),
    _time("created"),
    _text("tags"),
    _text("groups"),
    _text("policies"),
    _text("attached"),
    _text("boundary", nullable=True),
    _time("sessions_not_before", nullable=True),
    _number("number"),
    _blob("mac"),
)

GROUPS: Final = Table(
    "groups",
    METADATA,
    _text("account", key=True),
    _text("group_id", key=True),
    _text("name"),
    _text("path"),
    _time("created"),
    _text("policies"),
    _text("attached"),
    _number("number"),
    _blob("mac"),
)

ROLES: Final = Table(
    "roles",
    METADATA,
    _text("account", key=True),
    _text("role_id", key=True),
    _text("name"),
    _text("path"),
    _time("created"),
    _text("trust_policy"),
    _text("trusted"),  # JSON: [[ARN, unique id], …]
    _text("description"),
    Column("max_session_duration", Integer, nullable=False),
    _text("tags"),
    _text("policies"),
    _text("attached"),
    _text("boundary", nullable=True),
    _time("sessions_not_before", nullable=True),
    _number("number"),
    _blob("mac"),
)

MANAGED_POLICIES: Final = Table(
    "managed_policies",
    METADATA,
    _text("account", key=True),
    _text("policy_id", key=True),
    _text("name"),
    _text("path"),
    _time("created"),
    _time("updated"),
    _text("description"),
    _text("versions"),  # JSON: the members of each PolicyVersion
    _text("default_version_id"),
    Column("newest_version", Integer, nullable=False),
    _text("tags"),
    _number("number"),
    _blob("mac"),
)

IDENTITY_PROVIDERS: Final = Table(
    "identity_providers",
    METADATA,
    _text("account", key=True),
    _text("url", key=True),
    _time("created"),
    _text("client_ids"),
    _text("thumbprints"),
    _text("tags"),
    _number("number"),
    _blob("mac"),
)

SERVICES: Final = Table(
    "services",
    METADATA,
    _text("name", key=True),
    _time("created"),
    _text("accounts"),
    _text("operations"),
    _text("protects", nullable=True),
    _number("number"),
    _blob("mac"),
)

KMS_KEYS: Final = Table(
    "kms_keys",
    METADATA,
    _text("account", key=True),
    _text("region", key=True),
    _text("key_id", key=True),
    _text("key_spec"),
    _text("key_usage"),
    _text("origin"),
    _text("state"),
    _text("description"),
    _text("policy"),
    _text("tags"),  # JSON: [[key, value], …] in order of arrival
    _time("created"),
    _text("current_material_id"),
    _text("key_manager"),
    Column("multi_region", Boolean, nullable=False),
    _time("deletion_date", nullable=True),
    Column("pending_window_in_days", Integer, nullable=True),
    _text("policy_principals", nullable=True),  # JSON: [[ARN, unique id], …]
    Column("rotation_period_in_days", Integer, nullable=True),
    _time("next_rotation", nullable=True),
    _time("on_demand_rotation_start", nullable=True),
    _text("pending_material_id", nullable=True),
    _text("primary_region", nullable=True),
    _text("custom_key_store_id", nullable=True),
    _text("xks_key_id", nullable=True),
    _number("number"),
    _blob("mac"),
)

CUSTOM_KEY_STORES: Final = Table(
    "custom_key_stores",
    METADATA,
    _text("account", key=True),
    _text("region", key=True),
    _text("custom_key_store_id", key=True),
    _text("name"),
    _text("type"),
    _time("created"),
    _text("state"),
    _blob("sealed_secret"),
    _text("error_code", nullable=True),
    _text("cluster_id", nullable=True),
    _text("trust_anchor_certificate", nullable=True),
    _text("connectivity", nullable=True),
    _text("uri_endpoint", nullable=True),
    _text("uri_path", nullable=True),
    _text("access_key_id", nullable=True),
    _text("vpc_endpoint_service_name", nullable=True),
    _text("vpc_endpoint_service_owner", nullable=True),
    _number("number"),
    _blob("mac"),
)

KEY_MATERIALS: Final = Table(
    "key_materials",
    METADATA,
    _text("account", key=True),
    _text("region", key=True),
    _text("key_id", key=True),
    _text("material_id", key=True),
    Column("algorithm", Integer, nullable=False),
    _text("key_store"),
    Column("domain_key_version", Integer, nullable=False),
    _blob("wrapped"),
    _time("created"),
    _blob("public_key", nullable=True),
    Column("uses", BigInteger, nullable=True),
    _blob("recovery", nullable=True),
    _text("description", nullable=True),
    _time("valid_to", nullable=True),
    _time("rotated", nullable=True),
    _text("rotation_type", nullable=True),
    _number("number"),
    _blob("mac"),
)

ALIASES: Final = Table(
    "aliases",
    METADATA,
    _text("account", key=True),
    _text("region", key=True),
    _text("name", key=True),
    _text("target_key_id"),
    _time("created"),
    _time("last_updated"),
    _number("number"),
    _blob("mac"),
    Index("aliases_by_key", "account", "region", "target_key_id"),
)

GRANTS: Final = Table(
    "grants",
    METADATA,
    _text("account", key=True),
    _text("region", key=True),
    _text("key_id", key=True),
    _text("grant_id", key=True),
    _time("created"),
    _text("issuing_account"),
    _text("operations"),  # JSON: [operation, …]
    _text("name", nullable=True),
    _text("grantee_principal", nullable=True),
    _text("grantee_service", nullable=True),
    _text("retiring_principal", nullable=True),
    _text("retiring_service", nullable=True),
    _text("constraints"),  # JSON: the members of GrantConstraints
    _text("grantee_id", nullable=True),
    _text("retiring_id", nullable=True),
    _number("number"),
    _blob("mac"),
    Index("grants_by_retiring_principal", "region", "retiring_principal", "account", "key_id", "grant_id"),
)

KEY_USAGES: Final = Table(
    "key_usages",
    METADATA,
    _text("account", key=True),
    _text("region", key=True),
    _text("key_id", key=True),
    _time("used"),
    _text("operation"),
    _text("request_id"),
    _text("event_id"),
    _number("number"),
    _blob("mac"),
)

PENDING_ERASURES: Final = Table(
    "pending_erasures",
    METADATA,
    _text("account", key=True),
    _text("region", key=True),
    _text("key_id", key=True),
    _time("deleted"),
    _text("custom_key_store_id", nullable=True),
    _text("backing_keys", nullable=True),  # JSON: [material id, …]
    _number("number"),
    _blob("mac"),
)

CLOCK_READINGS: Final = Table(
    "clock_readings",
    METADATA,
    _text("boot_id", key=True),
    _time("wall"),
    _time("boot"),
    _time("latest"),
    _number("number"),
    _blob("mac"),
)

XKS_STORES: Final = Table(
    "xks_stores",
    METADATA,
    _text("prefix", key=True),
    _time("created"),
    Column("rate", Integer, nullable=False),
    _text("rules"),
    _number("number"),
    _blob("mac"),
)

XKS_CREDENTIALS: Final = Table(
    "xks_credentials",
    METADATA,
    _text("access_key_id", key=True),
    _text("prefix"),
    _time("created"),
    _blob("sealed_secret"),
    _number("number"),
    _blob("mac"),
)

EXTERNAL_KEYS: Final = Table(
    "external_keys",
    METADATA,
    _text("prefix", key=True),
    _text("external_key_id", key=True),
    _time("created"),
    Column("enabled", Boolean, nullable=False),
    _text("material_id"),
    Column("algorithm", Integer, nullable=False),
    _text("key_store"),
    Column("domain_key_version", Integer, nullable=False),
    _blob("wrapped"),
    Column("uses", BigInteger, nullable=True),
    _blob("recovery", nullable=True),
    _number("number"),
    _blob("mac"),
)

ATTACHED_OBJECTS: Final = Table(
    "attached_objects",
    METADATA,
    _text("label", key=True),
    _number("uses"),
    _number("number"),
    _blob("mac"),
)

FEED: Final = Table(
    "feed",
    METADATA,
    _number("number", key=True),
    _number("previous"),
    _text("entries"),  # JSON: [[table, [primary key…], old number or null, new number or null], …]
    Column("record_hash", LargeBinary, nullable=True),
    _blob("chain"),
)

FEED_HEAD: Final = Table(
    "feed_head",
    METADATA,
    _number("number"),
    _blob("chain"),
    _text("pending"),  # JSON: the numbers of the changes whose audit records are in the outbox
    _number("audit_chains"),  # how many audit chains were ever registered
    _blob("mac"),
)

CHECKPOINT: Final = Table(
    "checkpoint",
    METADATA,
    _number("number"),
    _blob("chain"),
    _number("floor_number"),
    _blob("floor_chain"),
    _text("listing"),  # JSON: [[table, [primary key…], number], …], sorted
    _blob("mac"),
)

AUDIT_OUTBOX: Final = Table(
    "audit_outbox",
    METADATA,
    _number("number", key=True),
    _text("chain_id"),
    _text("event_id"),
    _blob("record"),
    _blob("mac"),
)

AUDIT_CHAINS: Final = Table(
    "audit_chains",
    METADATA,
    _text("chain_id", key=True),
    _number("serial"),
    _time("opened"),
    _number("sequence"),
    _blob("chain_mac"),
    Column("ended", Boolean, nullable=False),
    _blob("mac"),
)


class RecordTable(NamedTuple):
    """The table of a record type, and the names of its columns, of its primary key's, and of those that hold times."""

    kind: type[Record]
    table: Table
    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    times: frozenset[str]

    def key_of(self, row: Row) -> Key:
        """Primary key of a row. Only a verified row is sure to hold what the types say."""
        return tuple(row[name] for name in self.key)  # type: ignore[misc]

    def row(self, cells: Iterable[Cell]) -> dict[str, Cell]:
        """A row as it was read, by its columns' names."""
        return dict(zip(self.columns, cells, strict=True))


def column_names(table: Table) -> tuple[str, ...]:
    """Names of a table's columns, in order, as plain strings."""
    return tuple(str(column.name) for column in table.columns)


def _record_table(kind: type[Record], table: Table) -> RecordTable:
    key = tuple(str(column.name) for column in table.primary_key)
    times = frozenset(str(column.name) for column in table.columns if isinstance(column.type, Double))
    return RecordTable(kind, table, str(table.name), column_names(table), key, times)


RECORD_TABLES: Final[dict[type, RecordTable]] = {
    Installation: _record_table(Installation, INSTALLATION),
    DomainKey: _record_table(DomainKey, DOMAIN_KEYS),
    Account: _record_table(Account, ACCOUNTS),
    AccessKey: _record_table(AccessKey, ACCESS_KEYS),
    AccessKeyUsage: _record_table(AccessKeyUsage, ACCESS_KEY_USAGES),
    User: _record_table(User, USERS),
    Group: _record_table(Group, GROUPS),
    Role: _record_table(Role, ROLES),
    ManagedPolicy: _record_table(ManagedPolicy, MANAGED_POLICIES),
    IdentityProvider: _record_table(IdentityProvider, IDENTITY_PROVIDERS),
    Service: _record_table(Service, SERVICES),
    CustomKeyStore: _record_table(CustomKeyStore, CUSTOM_KEY_STORES),
    KmsKey: _record_table(KmsKey, KMS_KEYS),
    KeyMaterial: _record_table(KeyMaterial, KEY_MATERIALS),
    Alias: _record_table(Alias, ALIASES),
    Grant: _record_table(Grant, GRANTS),
    KeyUsage: _record_table(KeyUsage, KEY_USAGES),
    PendingErasure: _record_table(PendingErasure, PENDING_ERASURES),
    ClockReading: _record_table(ClockReading, CLOCK_READINGS),
    XksStore: _record_table(XksStore, XKS_STORES),
    XksCredential: _record_table(XksCredential, XKS_CREDENTIALS),
    ExternalKey: _record_table(ExternalKey, EXTERNAL_KEYS),
    AttachedObject: _record_table(AttachedObject, ATTACHED_OBJECTS),
}
"""Record type -> its table."""

NODES_METADATA: Final = MetaData()
"""What nodes share besides: in PostgreSQL alone. It authenticates itself, or needs not to."""

AUDIT_GROUPS: Final = Table(
    "audit_groups",
    NODES_METADATA,
    Column("chain_id", ANY_TEXT, primary_key=True, nullable=False),
    Column("first_sequence", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("lines", LargeBinary, nullable=False),
)
AUDIT_DIGESTS: Final = Table(
    "audit_digests",
    NODES_METADATA,
    Column("chain_id", ANY_TEXT, primary_key=True, nullable=False),
    Column("segment", Integer, primary_key=True, nullable=False, autoincrement=False),
    Column("digest", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
NONCES: Final = Table(
    "nonces",
    NODES_METADATA,
    Column("owner", Text, primary_key=True, nullable=False),
    Column("nonce", Text, primary_key=True, nullable=False),
    Column("used", Double, nullable=False, index=True),
)

TABLES_BY_NAME: Final = {entry.name: entry for entry in RECORD_TABLES.values()}

_TEXTS: Final[msgspec.json.Decoder[object]] = msgspec.json.Decoder(tuple[str, ...])
_PAIRS: Final[msgspec.json.Decoder[object]] = msgspec.json.Decoder(tuple[tuple[str, str], ...])
_JSON: Final[dict[type, dict[str, msgspec.json.Decoder[object]]]] = {
    KmsKey: {"tags": _PAIRS, "policy_principals": _PAIRS},
    User: {"tags": _PAIRS, "groups": _TEXTS, "policies": _PAIRS, "attached": _TEXTS},
    Group: {"policies": _PAIRS, "attached": _TEXTS},
    Role: {"trusted": _PAIRS, "tags": _PAIRS, "policies": _PAIRS, "attached": _TEXTS},
    ManagedPolicy: {"versions": msgspec.json.Decoder(tuple[PolicyVersion, ...]), "tags": _PAIRS},
    IdentityProvider: {"client_ids": _TEXTS, "thumbprints": _TEXTS, "tags": _PAIRS},
    Service: {"accounts": _TEXTS, "operations": _TEXTS},
    PendingErasure: {"backing_keys": _TEXTS},
    Grant: {
        "operations": _TEXTS,
        "constraints": msgspec.json.Decoder(GrantConstraints),
    },
}
"""Record type -> its members that are stored as JSON -> what reads them."""


def to_row(record: Record) -> dict[str, Cell]:
    """The cells of a record, without `number` and `mac`."""
    row: dict[str, Cell] = dict(zip(record.__struct_fields__, msgspec.structs.astuple(record), strict=True))
    for name in RECORD_TABLES[type(record)].times:
        row[name] = _float(row[name])
    for name in _JSON.get(type(record), ()):
        row[name] = None if row[name] is None else msgspec.json.encode(row[name]).decode()
    return row


def _float(time: Cell) -> float | None:
    # A time given as an integer must have the code of the float that the database returns.
    assert time is None or isinstance(time, int | float), "a record's times are numbers"
    return None if time is None else float(time)


def from_row(kind: type[R], row: Row) -> R:
    """The record of a row that was verified."""
    cells: dict[str, object] = {name: row[name] for name in kind.__struct_fields__}
    for name, decoder in _JSON.get(kind, {}).items():
        cells[name] = None if row[name] is None else decoder.decode(str(row[name]))
    return msgspec.convert(cells, kind)
