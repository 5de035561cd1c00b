"""MongoDB's client-side field-level encryption keeps its data keys wrapped by KMS keys."""

from collections.abc import Iterator
from typing import Any

import pytest

from strongroom.testing.server import Server, initialize, start_server
from tests.compat.clients import Driver, RefusedError, recorded, variables
from tests.tls import kms_over_tls, write_certificate

DETERMINISTIC = "AEAD_AES_256_CBC_HMAC_SHA_512-Deterministic"
RANDOM = "AEAD_AES_256_CBC_HMAC_SHA_512-Random"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with TLS, without which libmongocrypt speaks to none."""
    data = tmp_path_factory.mktemp("served") / "data"
    initialize(data)
    write_certificate(data)
    with (data / "strongroom.yaml").open("a") as configuration:
        configuration.write("tls: {certificate: server.pem, key: server.key}\n")
    server = start_server(data)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def kms(server: Server) -> Any:
    return kms_over_tls(server, server.data / "server.pem")


@pytest.fixture(scope="module")
def environment(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return variables(server, tmp_path_factory.mktemp("home"), AWS_CA_BUNDLE=str(server.data / "server.pem"))


@pytest.fixture(scope="module")
def aws(server: Server) -> dict[str, str]:
    return {"accessKeyId": server.access_key_id, "secretAccessKey": server.secret_access_key}


@pytest.fixture(scope="module")
def data_key(driver: Driver, server: Server, aws: dict[str, str], key_arn: str) -> str:
    made: str = driver.ask("create_data_key", aws=aws, master_key=master_key(server, key_arn))
    return made


def master_key(server: Server, key_arn: str) -> dict[str, str]:
    return {"region": server.region, "key": key_arn, "endpoint": server.endpoint.removeprefix("https://")}


@pytest.mark.parametrize(("algorithm", "different"), [(DETERMINISTIC, 1), (RANDOM, 2)])
def test_a_value_is_encrypted_and_decrypted(
    driver: Driver, aws: dict[str, str], data_key: str, algorithm: str, different: int
) -> None:
    given = {"aws": aws, "data_key": data_key}
    encrypted = {driver.ask("encrypt", **given, value="secret", algorithm=algorithm) for _ in range(2)}

    assert len(encrypted) == different
    for value in encrypted:
        assert driver.ask("decrypt", **given, encrypted=value) == "secret"


def test_a_data_key_is_wrapped_anew_by_another_key(
    driver: Driver, server: Server, aws: dict[str, str], data_key: str, other_key_arn: str
) -> None:
    encrypted = driver.ask("encrypt", aws=aws, data_key=data_key, value="secret", algorithm=RANDOM)
    before = len(recorded(server))
    rewrapped = driver.ask("rewrap", aws=aws, data_key=data_key, master_key=master_key(server, other_key_arn))

    assert recorded(server)[before:] == [("Decrypt", None), ("Encrypt", None)]
    assert rewrapped != data_key
    assert driver.ask("decrypt", aws=aws, data_key=rewrapped, encrypted=encrypted) == "secret"


def test_a_damaged_data_key_is_refused(driver: Driver, aws: dict[str, str], data_key: str) -> None:
    damaged = driver.ask("damage", data_key=data_key)

    with pytest.raises(RefusedError, match="InvalidCiphertextException"):
        driver.ask("encrypt", aws=aws, data_key=damaged, value="secret", algorithm=RANDOM)


def test_a_wrong_secret_access_key_is_refused(driver: Driver, aws: dict[str, str], data_key: str) -> None:
    wrong = {**aws, "secretAccessKey": "x" * 40}

    with pytest.raises(RefusedError, match="InvalidSignatureException"):
        driver.ask("encrypt", aws=wrong, data_key=data_key, value="secret", algorithm=RANDOM)
