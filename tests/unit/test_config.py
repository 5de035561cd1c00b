"""The configuration: what is read of an HSM, from where its PIN comes, and where the XKS proxy listens."""

import re
from ipaddress import ip_network
from pathlib import Path

import pytest

from strongroom.config import Config, Health, Hsm, HsmPin, Tls, XksProxyServer, read_config
from strongroom.errors import ConfigurationError


def read(directory: Path, text: str) -> Config:
    path = directory / "strongroom.yaml"
    path.write_text(text)
    return read_config(path)


def hsm(directory: Path, pin: str, more: str = "") -> Hsm:
    found = read(directory, f"hsm: {{library: lib/p11.so, token: strongroom, pin: {{{pin}}}{more}}}").hsm
    assert found is not None
    return found


def test_without_its_section_there_is_none(tmp_path: Path) -> None:
    assert read(tmp_path, "").hsm is None


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    found = hsm(tmp_path, "file: secrets/pin", ", allow: [direct-gcm, software-ed25519]")
    assert found == Hsm(
        library=tmp_path / "lib/p11.so",
        token="strongroom",
        pin=HsmPin(file=tmp_path / "secrets/pin"),
        allow=("direct-gcm", "software-ed25519"),
    )
    assert found.pin_file == tmp_path / "secrets/pin"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    found = read(tmp_path, "hsm: {library: /usr/lib/p11.so, token: t, pin: {file: /etc/pin}}").hsm
    assert found == Hsm(Path("/usr/lib/p11.so"), "t", HsmPin(file=Path("/etc/pin")))


def test_the_environment_is_asked_when_the_pin_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = hsm(tmp_path, "environment: TOKEN_PIN")
    monkeypatch.delenv("TOKEN_PIN", raising=False)
    assert (found.pin_file, found.pin_text) == (None, None)
    monkeypatch.setenv("TOKEN_PIN", "1234")
    assert (found.pin_file, found.pin_text) == (None, "1234")


def test_a_credential_is_in_the_directory_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = hsm(tmp_path, "credential: hsm-pin")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/strongroom.service")
    assert found.pin_file == Path("/run/credentials/strongroom.service/hsm-pin")
    assert found.pin_text is None
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    told = r"^systemd gives no credential hsm-pin: \$CREDENTIALS_DIRECTORY is not set$"
    with pytest.raises(ConfigurationError, match=told):
        _ = found.pin_file


@pytest.mark.parametrize(
    "pin",
    [
        "",
        "file: a, credential: b",
        "file: a, environment: B",
        "credential: a, environment: B",
        "file: a, credential: b, environment: C",
    ],
)
def test_the_pin_comes_from_one_place(tmp_path: Path, pin: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^hsm\.pin must have one of file, credential and environment$"):
        hsm(tmp_path, pin)


@pytest.mark.parametrize(
    "section",
    [
        "{token: t, pin: {file: a}}",
        "{library: l, pin: {file: a}}",
        "{library: l, token: t}",
        "{library: l, token: t, pin: '1234'}",
        "{library: l, token: t, pin: {file: a}, slot: 1}",
        "{library: l, token: t, pin: {value: '1234'}}",
        "{library: l, token: t, pin: {file: a}, allow: direct-gcm}",
        "{library: 1, token: t, pin: {file: a}}",
    ],
)
def test_what_is_missing_or_unknown_is_refused_and_shows_no_pin(tmp_path: Path, section: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^the configuration .* is wrong: ") as refused:
        read(tmp_path, f"hsm: {section}")
    assert "1234" not in str(refused.value)


def test_the_xks_proxy_listens_on_loopback_if_nothing_else_is_said(tmp_path: Path) -> None:
    assert read(tmp_path, "").xks_proxy == XksProxyServer("127.0.0.1", 8443, None)


def test_the_xks_proxy_has_a_certificate_of_its_own(tmp_path: Path) -> None:
    text = "xks_proxy: {host: 10.0.0.7, port: 443, tls: {certificate: xks.pem, key: /etc/xks.key}}"
    found = read(tmp_path, text)
    assert found.xks_proxy == XksProxyServer("10.0.0.7", 443, Tls(tmp_path / "xks.pem", Path("/etc/xks.key")))
    assert found.tls is None


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_the_port_of_the_xks_proxy_is_one(tmp_path: Path, port: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^xks_proxy\.port {port} is not a TCP port$"):
        read(tmp_path, f"xks_proxy: {{port: {port}}}")


@pytest.mark.parametrize("section", ["{tls: {certificate: a}}", "{prefix: a}", "{port: '8443'}", "null"])
def test_what_is_missing_or_unknown_of_the_xks_proxy_is_refused(tmp_path: Path, section: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^the configuration .* is wrong: "):
        read(tmp_path, f"xks_proxy: {section}")


def test_balancers_are_networks_or_single_addresses(tmp_path: Path) -> None:
    config = read(tmp_path, "listen: {proxy_protocol: [10.0.0.2, '2001:db8::/64']}")
    assert config.listen.balancers == [ip_network("10.0.0.2/32"), ip_network("2001:db8::/64")]
    assert config.xks_proxy.balancers == []


@pytest.mark.parametrize("section", ["listen", "xks_proxy"])
@pytest.mark.parametrize("network", ["10.0.0.1/8", "balancer.example.com", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused(tmp_path: Path, section: str, network: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{section}\.proxy_protocol: .*{re.escape(network)}"):
        read(tmp_path, f"{section}: {{proxy_protocol: ['{network}']}}")


def test_health_is_told_nowhere_unless_there_is_a_port_for_it(tmp_path: Path) -> None:
    assert (read(tmp_path, "").health, read(tmp_path, "").xks_proxy.health) == (None, None)
    found = read(tmp_path, "health: {port: 8401}\nxks_proxy: {health: {host: 10.0.0.7, port: 0}}")
    assert found.health == Health(host="127.0.0.1", port=8401)
    assert found.xks_proxy.health == Health(host="10.0.0.7", port=0)
    assert found.xks_proxy.health.url(8402) == "http://10.0.0.7:8402"
    assert Health(host="::1", port=0).url(8402) == "http://[::1]:8402"


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_the_port_of_health_is_one(tmp_path: Path, port: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^health\.port {port} is not a TCP port$"):
        read(tmp_path, f"health: {{port: {port}}}")
    with pytest.raises(ConfigurationError, match=rf"^xks_proxy\.health\.port {port} is not a TCP port$"):
        read(tmp_path, f"xks_proxy: {{health: {{port: {port}}}}}")


@pytest.mark.parametrize("section", ["{}", "{host: a}", "{port: '8401'}", "{port: 1, tls: a}", "8401"])
def test_what_is_missing_or_unknown_of_health_is_refused(tmp_path: Path, section: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^the configuration .* is wrong: "):
        read(tmp_path, f"health: {section}")


DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    "name",
    [
        "configuration.md",
        "operations.md",
        "how-to/custom-key-stores.md",
        "how-to/xks-proxy.md",
        "how-to/watch-a-server.md",
    ],
)
def test_the_documents_have_configurations_that_are_right(name: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / "strongroom.yaml").write_text(re.sub(r"(?m)^( *)# (?=[a-z_]+: )", r"\1", block))
        read_config(tmp_path / "strongroom.yaml")
