"""The configuration: one frozen value, read from one YAML file. The only reader of that file.

    data: .                     # the data directory; relative to this file
    listen: {host: 127.0.0.1, port: 8400, proxy_protocol: [10.0.0.0/24]}  # the balancers that speak it
    workers: 1                  # server processes
    region: us-east-1           # the Region that client.env names
    regions: [us-east-1]        # the Regions served; without it, all of AWS's
    root_key: root.key          # the root key file; relative to this file
    tls: {certificate: server.pem, key: server.key}
    node: db-1                  # this node's name; without it the machine's
    postgresql: {url: "postgresql://strongroom@db.internal/strongroom", lease: 1.0}  # many nodes over one database
    audit: {sync: always}       # or `interval`: a record may be lost for 100 ms after its answer
    hsm: {library: /usr/lib/softhsm/libsofthsm2.so, token: strongroom, pin: {file: hsm.pin}, allow: []}  # no root key
    web_identity: {allow: [gitlab.internal], ca: ca.pem}  # issuers on private addresses, and whom to trust for them
    hsm_clusters:               # those that custom key stores may use, by cluster id
      cluster-1234567890a: {certificate: customerCA.crt, library: libpkcs11.so, token: payments, hsms: 2}
    xks_proxies:                # the endpoints that external key stores may have
      https://xks.example.com: {connect: "10.0.0.5:8443", ca: proxy-ca.pem}
    xks_proxy: {host: 127.0.0.1, port: 8443, tls: {certificate: xks.pem, key: xks.key}}  # to be one for AWS KMS
    health: {host: 127.0.0.1, port: 8401}  # health and metrics; `xks_proxy` has its own

Everything has a default; a name that is not in this list is refused.
"""

import os
import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from strongroom.errors import ConfigurationError

SHORTEST_LEASE, LONGEST_LEASE = 0.1, 86_400.0
"""Seconds of a lease on what a database server has confirmed."""


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to listen. Off loopback only with `tls`.

    `proxy_protocol` names the networks of balancers: connections from there begin with a PROXY header, others do not.
    """

    host: str = "127.0.0.1"
    port: int = 8400
    proxy_protocol: tuple[str, ...] = ()

    @property
    def balancers(self) -> list[IPv4Network | IPv6Network]:
        """What `proxy_protocol` names."""
        return _networks("listen.proxy_protocol", self.proxy_protocol)


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PEM files. Changed files are taken up for new connections."""

    certificate: Path
    key: Path


class Audit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`always`: a record is on disk before its answer leaves. `interval`: written before, synced within 100 ms."""

    sync: Literal["always", "interval"] = "always"


class Postgresql(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The database that the nodes share, instead of the SQLite file.

    `url` is libpq's; a password may stand in it, or better in the file that its `passfile` names. `lease` is for how
    many seconds a node relies on what the database last confirmed: how long after an acknowledged change another node
    may still answer by the state before it, and how long keys can be used while the database is away.
    """

    url: str
    lease: float = 1.0

    def __repr__(self) -> str:
        return f"Postgresql(lease={self.lease})"


class WebIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How issuers of web identity tokens are asked for their keys.

    `allow` names hosts (or `host:port`) that may have private addresses, `ca` a PEM file of certificate authorities to
    trust besides the system's.
    """

    allow: tuple[str, ...] = ()
    ca: Path | None = None


class HsmPin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the PIN is: a file (mode 0600), a systemd credential, or an environment variable. One of them."""

    file: Path | None = None
    credential: str | None = None
    environment: str | None = None


class Hsm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token that protects the keys. `allow` names the weaker ways that may be gone (`strongroom hsm probe`)."""

    library: Path
    token: str
    pin: HsmPin
    allow: tuple[str, ...] = ()

    @property
    def pin_file(self) -> Path | None:
        """The file that has the PIN; None if the environment has it."""
        if self.pin.credential is None:
            return self.pin.file
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if directory is None:
            raise ConfigurationError(
                f"systemd gives no credential {self.pin.credential}: $CREDENTIALS_DIRECTORY is not set"
            )
        return Path(directory) / self.pin.credential

    @property
    def pin_text(self) -> str | None:
        """The PIN, if it is in the environment."""
        return None if self.pin.environment is None else os.environ.get(self.pin.environment)


class HsmCluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An HSM cluster that a custom key store may use: the token with a label, in a PKCS #11 library.

    `certificate` is the cluster's trust anchor (PEM). `hsms` is how many HSMs it has. `account` is whose it is; without
    it any account may use it.
    """

    certificate: Path
    library: Path
    token: str
    hsms: int = 2
    account: str | None = None


class XksProxy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint that external key stores may have.

    `connect` is the `host:port` that is really connected to; without it the endpoint's own name, port 443, which must
    not be this machine. `ca` is a PEM file of the only certificate authorities to trust; without it the system's.
    `vpc_endpoint_service` is the name of the VPC endpoint service that stands for it, for stores that name one.
    """

    connect: str | None = None
    ca: Path | None = None
    vpc_endpoint_service: str | None = None


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where health and metrics are told, in the clear and to anybody (`wire/health.py`)."""

    host: str = "127.0.0.1"
    port: int

    def url(self, port: int) -> str:
        """Where it is asked, once it has its port."""
        return f"http://{_in_url(self.host)}:{port}"


class XksProxyServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the XKS proxy that this service is listens. Off loopback only with `tls`. Balancers as with `Listen`."""

    host: str = "127.0.0.1"
    port: int = 8443
    tls: Tls | None = None
    proxy_protocol: tuple[str, ...] = ()
    health: Health | None = None

    @property
    def balancers(self) -> list[IPv4Network | IPv6Network]:
        """What `proxy_protocol` names."""
        return _networks("xks_proxy.proxy_protocol", self.proxy_protocol)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See the module's example. Paths are absolute after `read_config`."""

    data: Path = Path()
    listen: Listen = Listen()
    workers: int = 1
    region: str = "us-east-1"
    regions: tuple[str, ...] | None = None
    root_key: Path = Path("root.key")
    tls: Tls | None = None
    node: str | None = None
    postgresql: Postgresql | None = None
    audit: Audit = Audit()
    web_identity: WebIdentity = WebIdentity()
    hsm: Hsm | None = None
    hsm_clusters: dict[str, HsmCluster] = {}
    xks_proxies: dict[str, XksProxy] = {}
    xks_proxy: XksProxyServer = XksProxyServer()
    health: Health | None = None

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data / "strongroom.db"

    @property
    def moved(self) -> Path:
        """Made when the SQLite file was moved to a database server, so that it is never served again."""
        return self.data / "strongroom.db.moved"

    @property
    def nonces(self) -> Path:
        """The nonces of services' requests."""
        return self.data / "nonces.db"

    @property
    def served(self) -> Path:
        """The file whose lock says that the installation is served."""
        return self.data / "served.lock"

    @property
    def newest_change(self) -> Path:
        """The newest change that this node has seen in the database."""
        return self.data / "newest-change"

    @property
    def refused_pin(self) -> Path:
        """Made when the HSM has refused the PIN, so that it is not tried again."""
        return self.data / "hsm-pin-refused"

    @property
    def refused_passwords(self) -> Path:
        """Files that say which passwords HSM clusters have refused, in a directory for each custom key store."""
        return self.data / "refused-passwords"

    @property
    def audit_directory(self) -> Path:
        """Where the audit log is: one directory for each chain."""
        return self.data / "audit"

    @property
    def audit_index(self) -> Path:
        """The SQLite file in which events of the audit log are looked up; made anew from the log if it is lost."""
        return self.data / "audit-index.db"

    @property
    def strangers_directory(self) -> Path:
        """Where the log of requests by unknown callers is."""
        return self.data / "strangers"

    @property
    def endpoint(self) -> str:
        """The URL for clients."""
        return f"{'https' if self.tls else 'http'}://{_in_url(self.listen.host)}:{self.listen.port}"


def read_config(path: Path) -> Config:
    """Read and check a configuration file. Raises ConfigurationError, one line that names the fault."""
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration {path}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:  # its whole text quotes the line, which may have a password
        where = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise ConfigurationError(f"the configuration {path} is not YAML{where}: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the configuration {path} is not YAML: {type(error).__name__}") from None
    try:
        config = msgspec.convert(document if document is not None else {}, Config, dec_hook=_decode_path)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"the configuration {path} is wrong: {_one_line(error)}") from error
    return _checked(_with_absolute_paths(config, path.resolve().parent))


def with_overrides(config: Config, *, port: int | None, workers: int | None) -> Config:
    """The configuration as the command line changes it."""
    return _checked(
        msgspec.structs.replace(
            config,
            listen=config.listen if port is None else msgspec.structs.replace(config.listen, port=port),
            workers=config.workers if workers is None else workers,
        )
    )


def _decode_path(kind: type, value: object) -> object:
    """Read the one type here that msgspec does not know."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError(f"Expected a path, got {value!r}")


def _with_absolute_paths(config: Config, folder: Path) -> Config:
    web_identity = config.web_identity
    if web_identity.ca is not None:
        web_identity = msgspec.structs.replace(web_identity, ca=folder / web_identity.ca)
    hsm = config.hsm
    if hsm is not None:
        file = None if hsm.pin.file is None else folder / hsm.pin.file
        pin = msgspec.structs.replace(hsm.pin, file=file)
        hsm = msgspec.structs.replace(hsm, library=folder / hsm.library, pin=pin)
    return msgspec.structs.replace(
        config,
        data=folder / config.data,
        root_key=folder / config.root_key,
        tls=_absolute_tls(config.tls, folder),
        web_identity=web_identity,
        hsm=hsm,
        hsm_clusters={
            name: msgspec.structs.replace(
                cluster, certificate=folder / cluster.certificate, library=folder / cluster.library
            )
            for name, cluster in config.hsm_clusters.items()
        },
        xks_proxies={
            endpoint: proxy if proxy.ca is None else msgspec.structs.replace(proxy, ca=folder / proxy.ca)
            for endpoint, proxy in config.xks_proxies.items()
        },
        xks_proxy=msgspec.structs.replace(config.xks_proxy, tls=_absolute_tls(config.xks_proxy.tls, folder)),
    )


def _absolute_tls(tls: Tls | None, folder: Path) -> Tls | None:
    return None if tls is None else Tls(folder / tls.certificate, folder / tls.key)


def _checked(config: Config) -> Config:
    _check_ports(config)
    for listening in (config.listen, config.xks_proxy):
        _ = listening.balancers
    if not 1 <= config.workers <= 64:  # noqa: PLR2004 — more than any machine's use
        raise ConfigurationError(f"workers must be 1 to 64, not {config.workers}")
    _check_node(config)
    if config.hsm is not None and sum(there is not None for there in msgspec.structs.astuple(config.hsm.pin)) != 1:
        raise ConfigurationError("hsm.pin must have one of file, credential and environment")
    if config.hsm is not None and not config.hsm.token:
        raise ConfigurationError("hsm.token is empty: it is the label of a token")
    for cluster_id, cluster in config.hsm_clusters.items():
        _check_cluster(config, cluster_id, cluster)
    for endpoint, proxy in config.xks_proxies.items():
        if re.fullmatch(r"https://[a-zA-Z0-9.-]{2,120}", endpoint) is None:
            raise ConfigurationError(
                f"xks_proxies: {endpoint!r} is not an endpoint: https:// and a name, without a port"
            )
        if (
            proxy.connect is not None
            and re.fullmatch(r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", proxy.connect) is None
        ):
            raise ConfigurationError(f"xks_proxies: connect {proxy.connect!r} is not a host and a port")
    return config


def _check_node(config: Config) -> None:
    if config.node is not None and re.fullmatch("[A-Za-z0-9-]{1,64}", config.node) is None:
        raise ConfigurationError(f"node {config.node!r} is not 1 to 64 letters, digits and hyphens")
    if config.postgresql is not None and not SHORTEST_LEASE <= config.postgresql.lease <= LONGEST_LEASE:
        raise ConfigurationError(f"postgresql.lease is {SHORTEST_LEASE} to {LONGEST_LEASE} seconds")


def _check_ports(config: Config) -> None:
    ports = {"listen.port": config.listen.port, "xks_proxy.port": config.xks_proxy.port}
    for name, health in (("health", config.health), ("xks_proxy.health", config.xks_proxy.health)):
        if health is not None:
            ports[f"{name}.port"] = health.port
    for name, port in ports.items():
        if not 0 <= port <= 65535:  # noqa: PLR2004 — TCP ports
            raise ConfigurationError(f"{name} {port} is not a TCP port")


def _networks(name: str, texts: Sequence[str]) -> list[IPv4Network | IPv6Network]:
    try:
        networks = [ip_network(text) for text in texts]
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from error
    for network in networks:
        if network.prefixlen == 0 or (isinstance(network, IPv6Network) and network.network_address.ipv4_mapped):
            raise ConfigurationError(f"{name}: {network} names no balancers: everybody, or IPv4 addresses as IPv6")
    return networks


def _check_cluster(config: Config, cluster_id: str, cluster: HsmCluster) -> None:
    if re.fullmatch("cluster-[2-7a-zA-Z]{11,16}", cluster_id) is None:
        raise ConfigurationError(
            f"hsm_clusters: {cluster_id!r} is not a cluster id: after cluster- come 11 to 16 of a-z, A-Z and 2-7"
        )
    place = (cluster.library.resolve(), cluster.token)
    if config.hsm is not None and place == (config.hsm.library.resolve(), config.hsm.token):
        raise ConfigurationError(f"hsm_clusters: {cluster_id} is the token that protects the installation")
    shared = [name for name, other in config.hsm_clusters.items() if (other.library.resolve(), other.token) == place]
    if len(shared) > 1:
        raise ConfigurationError(f"hsm_clusters: {shared[0]} and {shared[1]} are the same token")
    if cluster.account is not None and re.fullmatch("[0-9]{12}", cluster.account) is None:
        raise ConfigurationError(f"hsm_clusters: {cluster_id} is account {cluster.account!r}'s: 12 digits, in quotes")
    if not 0 <= cluster.hsms <= 32:  # noqa: PLR2004 — AWS has no larger clusters
        raise ConfigurationError(f"hsm_clusters: {cluster_id} has {cluster.hsms} HSMs: 0 to 32")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
