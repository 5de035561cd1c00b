"""An installation whose keys are in an HSM: real processes, over tokens of SoftHSM."""

import io
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from strongroom import app, cli
from strongroom.config import read_config
from strongroom.crypto.key_pairs import generate_key_pair
from strongroom.keystores.domain_keys import recovery_fingerprint
from strongroom.keystores.hsm.domain_keys import PURPOSES
from strongroom.storage.sqlite import read_domain_keys
from strongroom.testing.server import Server, running_server
from strongroom.testing.softhsm import SoftHsm, make_softhsm
from tests.e2e.commands import refused, serve
from tests.e2e.watching import readiness, watched
from tests.hsm import hsm_options, new_token, token_away
from tests.records import recorded, recorded_by_chain

START_SECONDS = 30
ALLOWED = ("host-oaep-sha-256", "software-ed25519")
KINDS = {
    "symmetric": ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
    "mac": ("HMAC_512", "GENERATE_VERIFY_MAC"),
    "RSASSA_PSS_SHA_512": ("RSA_2048", "SIGN_VERIFY"),
    "rsa": ("RSA_2048", "ENCRYPT_DECRYPT"),
    "ECDSA_SHA_384": ("ECC_NIST_P384", "SIGN_VERIFY"),
    "agreement": ("ECC_NIST_P256", "KEY_AGREEMENT"),
    "ED25519_SHA_512": ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
}
"""Name, or the algorithm that it signs with -> a kind of key."""

KmsClient = Callable[..., Any]


class Recovery(NamedTuple):
    """The files of a recovery key."""

    public: Path
    private: Path
    passphrase: Path
    another: Path


class Installed(NamedTuple):
    """A stopped installation, and what its keys did. Tests take a copy; all have the same token."""

    data: Path
    token: str
    keys: dict[str, str]
    did: dict[str, bytes]

    def copy(self, to: Path, *changes: tuple[str, str]) -> "Installed":
        """A copy whose configuration says something else."""
        data = to / "copy"
        shutil.copytree(self.data, data)
        configuration = data / "strongroom.yaml"
        text = configuration.read_text()
        for before, after in changes:
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        configuration.write_text(text)
        return self._replace(data=data)

    @property
    def config(self) -> Path:
        return self.data / "strongroom.yaml"


def pem(key: rsa.RSAPrivateKey, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.fixture(scope="module")
def recovery(tmp_path_factory: pytest.TempPathFactory) -> Recovery:
    directory = tmp_path_factory.mktemp("recovery")
    files = Recovery(*(directory / name for name in Recovery._fields))
    key = rsa.generate_private_key(65537, 3072)
    files.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    files.private.write_bytes(pem(key, BestAvailableEncryption(b"passphrase")))
    files.passphrase.write_bytes(b"passphrase\n")
    files.passphrase.chmod(0o600)
    files.another.write_bytes(pem(rsa.generate_private_key(65537, 3072)))
    return files


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, softhsm: SoftHsm, recovery: Recovery, kms_client: KmsClient
) -> Installed:
    data, token = tmp_path_factory.mktemp("installed") / "data", new_token(softhsm)
    options = hsm_options(softhsm, token, ALLOWED)
    made = command("init", "--data", data, "--port", "0", *options, "--recovery-key", recovery.public)
    assert made.returncode == 0, made.stderr
    with running_server(data) as server:
        kms = kms_client(server)
        keys = {name: create(kms, *kind) for name, kind in KINDS.items()}
        did = {
            "symmetric": kms.encrypt(KeyId=keys["symmetric"], Plaintext=b"plaintext")["CiphertextBlob"],
            "rsa": kms.encrypt(KeyId=keys["rsa"], Plaintext=b"plaintext", EncryptionAlgorithm="RSAES_OAEP_SHA_256")[
                "CiphertextBlob"
            ],
            "mac": kms.generate_mac(KeyId=keys["mac"], Message=b"message", MacAlgorithm="HMAC_SHA_512")["Mac"],
            "theirs": generate_key_pair("ECC_NIST_P256").public,
        }
        did["agreement"] = agreed(kms, keys["agreement"], did["theirs"])
    return Installed(data, token, keys, did)


def create(kms: Any, key_spec: str, key_usage: str) -> str:
    key_id: str = kms.create_key(KeySpec=key_spec, KeyUsage=key_usage)["KeyMetadata"]["KeyId"]
    return key_id


def agreed(kms: Any, key_id: str, theirs: bytes) -> bytes:
    answer = kms.derive_shared_secret(KeyId=key_id, KeyAgreementAlgorithm="ECDH", PublicKey=theirs)
    secret: bytes = answer["SharedSecret"]
    return secret


def assert_all_work(kms: Any, installed: Installed) -> None:
    """Each key does what it did."""
    keys, did = installed.keys, installed.did
    assert kms.decrypt(CiphertextBlob=did["symmetric"])["Plaintext"] == b"plaintext"
    rsa_ = {"KeyId": keys["rsa"], "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    assert kms.decrypt(CiphertextBlob=did["rsa"], **rsa_)["Plaintext"] == b"plaintext"
    mac = {"KeyId": keys["mac"], "Message": b"message", "MacAlgorithm": "HMAC_SHA_512"}
    assert kms.verify_mac(Mac=did["mac"], **mac)["MacValid"]
    assert agreed(kms, keys["agreement"], did["theirs"]) == did["agreement"]
    for algorithm in (name for name, (_, usage) in KINDS.items() if usage == "SIGN_VERIFY"):
        signing = {"KeyId": keys[algorithm], "Message": b"message", "SigningAlgorithm": algorithm}
        assert kms.verify(Signature=kms.sign(**signing)["Signature"], **signing)["SignatureValid"]


def client_of_each_process(server: Server, kms_client: KmsClient) -> list[Any]:
    """A client of either process; it keeps its connection."""
    found: dict[str, Any] = {}
    deadline = time.monotonic() + START_SECONDS
    while len(found) < 2:  # the second process begins after the first listens
        assert time.monotonic() < deadline, "both processes take connections"
        client = kms_client(server)
        request_id = client.list_keys()["ResponseMetadata"]["RequestId"]
        for chain, records in recorded_by_chain(server.data).items():
            if any(record.get("requestID") == request_id for record in records):
                found.setdefault(chain, client)
    return list(found.values())


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in this process: most of the time of a new one is its start."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.run([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def assert_log_verifies(data: Path) -> None:
    verified = command("audit", "verify", "--config", data / "strongroom.yaml")
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
    assert verified.stdout.endswith(": 0 findings\n")


def not_served(done: subprocess.CompletedProcess[str]) -> str:
    """Check that the server did not begin, for want of its HSM, and said why in one line; return that line."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    return line.removeprefix("strongroom: ")


def objects_in(softhsm: SoftHsm, label: str) -> int:
    """How many objects a token has, by its files."""
    (token,) = (one for one in softhsm.tokens.iterdir() if label.encode() in (one / "token.object").read_bytes())
    return len([one for one in token.glob("*.object") if one.name != "token.object"])


def test_after_a_restart_each_process_uses_what_another_made(
    installed: Installed, tmp_path: Path, kms_client: KmsClient
) -> None:
    copy = installed.copy(tmp_path)
    with running_server(copy.data, workers=2) as server:
        first, second = client_of_each_process(server, kms_client)
        for kms in (first, second):
            assert_all_work(kms, installed)
        for ours, theirs in ((first, second), (second, first)):
            key_id = create(ours, *KINDS["symmetric"])
            blob = theirs.encrypt(KeyId=key_id, Plaintext=b"plaintext", EncryptionContext={"a": "b"})["CiphertextBlob"]
            assert ours.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == b"plaintext"
            with pytest.raises(ClientError, match="InvalidCiphertextException"):
                ours.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "c"})
        assert len(first.generate_random(NumberOfBytes=1024)["Plaintext"]) == 1024
        made = second.generate_data_key_pair(KeyId=installed.keys["symmetric"], KeyPairSpec="ECC_NIST_P256")
        assert (
            first.decrypt(CiphertextBlob=made["PrivateKeyCiphertextBlob"])["Plaintext"] == made["PrivateKeyPlaintext"]
        )
        for spec, usage in (("ML_DSA_44", "SIGN_VERIFY"), ("ML_DSA_87", "SIGN_VERIFY")):
            with pytest.raises(ClientError) as refusal:
                create(first, spec, usage)
            assert refusal.value.response["Error"] == {
                "Code": "UnsupportedOperationException",
                "Message": f"{spec} keys for {usage} are not supported by this key store.",
            }
    assert not list(tmp_path.rglob("root.key"))
    assert_log_verifies(copy.data)


def test_the_probe_tells_what_is_done_where(installed: Installed, softhsm: SoftHsm) -> None:
    probed = command("hsm", "probe", "--config", installed.config)
    assert (probed.returncode, probed.stderr) == (0, "")
    lines = probed.stdout.splitlines()
    assert lines[:3] == [
        lines[0],
        f"token      {installed.token}",
        "wrapping   RFC 5649 (CKM_AES_KEY_WRAP_PAD, which is that here)",
    ]
    assert lines[0].startswith("library    SoftHSM ")
    assert "  SYMMETRIC_DEFAULT      ENCRYPT_DECRYPT          in the HSM" in lines
    assert "  RSA_2048               ENCRYPT_DECRYPT          host-oaep-sha-256: allowed" in lines
    assert "  ML_DSA_44              SIGN_VERIFY              software-ml-dsa: refused, not allowed" in lines
    assert len([line for line in lines if line.startswith("  software-ml-dsa      refused: ")]) == 1
    assert refused(command("hsm", "probe", *hsm_options(softhsm, "nowhere", ()))) == "there is no token 'nowhere'"


def test_readiness_names_the_hsm_while_its_token_is_away(
    installed: Installed, softhsm: SoftHsm, tmp_path: Path, kms_client: KmsClient
) -> None:
    copy = installed.copy(tmp_path)
    watched(copy.data)
    with running_server(copy.data, workers=2) as server:
        kms = kms_client(server)
        well = {"storage": True, "audit": True, "hsm": True}
        assert readiness(server) == (200, {"ready": True, "stopping": False, "parts": well})
        with token_away(softhsm, installed.token):
            with pytest.raises(ClientError, match="KMSInternalException"):
                kms.decrypt(CiphertextBlob=installed.did["symmetric"])
            eventually(lambda: readiness(server)[0] == 503)
            away = {"ready": False, "stopping": False, "parts": {**well, "hsm": False}}
            assert [readiness(server) for _ in range(4)] == [(503, away)] * 4, "whichever process is asked"
        eventually(lambda: readiness(server)[0] == 200)
        assert kms.decrypt(CiphertextBlob=installed.did["symmetric"])["Plaintext"] == b"plaintext"


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def test_a_wrong_pin_is_tried_once_and_a_new_one_again(installed: Installed, softhsm: SoftHsm, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.touch(0o600)
    pin.write_text("0000")
    copy = installed.copy(tmp_path, (str(softhsm.pin_file), str(pin)))
    marker = copy.data / "hsm-pin-refused"
    told = not_served(serve(copy.data))
    assert told.startswith(f"the token '{installed.token}' refuses the PIN (C_Login gave back 0xA0)")
    assert "0000" not in told.replace("0xA0", "")
    assert marker.read_bytes() == b""
    again = refused(command("hsm", "probe", "--config", copy.config))
    assert again.startswith("a PIN was refused before, and is not tried again: write the right one into its file")
    assert marker.exists()
    pin.write_text(softhsm.pin_file.read_text())
    later = marker.stat().st_mtime + 1
    os.utime(pin, (later, later))
    assert command("hsm", "probe", "--config", copy.config).returncode == 0
    assert not marker.exists()


def test_without_its_token_nothing_is_opened(installed: Installed, tmp_path: Path) -> None:
    copy = installed.copy(tmp_path, (f"token: {installed.token}", "token: nowhere"))
    for arguments in (("hsm", "probe"), ("account", "list")):
        assert refused(command(*arguments, "--config", copy.config)) == "there is no token 'nowhere'"


def test_what_is_not_made_leaves_no_keys_in_the_token(softhsm: SoftHsm, tmp_path: Path) -> None:
    token = new_token(softhsm)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").touch()
    options = hsm_options(softhsm, token, ALLOWED)
    assert "is not empty" in refused(command("init", "--data", tmp_path / "data", *options))
    told = refused(command("init", "--data", tmp_path / "other", *options, "--allow", "anything"))
    assert told.startswith("hsm.allow names 'anything'; the weaker ways are direct-gcm, ")
    assert objects_in(softhsm, token) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_doctor_warns_until_a_second_token_is_proven(installed: Installed, softhsm: SoftHsm, tmp_path: Path) -> None:
    copy = installed.copy(tmp_path)
    assert objects_in(softhsm, installed.token) == len(PURPOSES)
    (tmp_path / "empty").mkdir()
    (tmp_path / "second").mkdir()
    empty = make_softhsm(tmp_path / "empty", installed.token)
    second = make_softhsm(tmp_path / "second")
    shutil.copytree(softhsm.tokens, second.tokens, dirs_exist_ok=True)

    def verify(backup: SoftHsm) -> subprocess.CompletedProcess[str]:
        environment = [f"{name}={value}" for name, value in backup.environment.items()]
        options = hsm_options(backup, installed.token, ())
        return command("hsm", "verify-backup", "--config", copy.config, *options, "--environment", *environment)

    told = refused(verify(empty))
    assert told.startswith("the second token: the token has no key 'strongroom integrity v1' of installation ")
    told = refused(verify(softhsm))
    assert told == "the second token: it is the installation's own token, and no second one"
    assert objects_in(softhsm, installed.token) == len(PURPOSES)
    assert warned(copy)
    verified = verify(second)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout.startswith(
        f"The token {installed.token} holds the same keys: SYMMETRIC_DEFAULT for ENCRYPT_"
    )
    assert verified.stdout.endswith("the service's own keys (version 1)\n")
    assert not warned(copy)
    assert [record["eventName"] for record in recorded(copy.data)].count("VerifyHsmBackup") == 1
    assert_log_verifies(copy.data)


def warned(installed: Installed) -> bool:
    """Whether `doctor` finds nothing wrong, and warns that there is one token only."""
    findings = app.diagnose(read_config(installed.config))
    assert not [finding for finding in findings if finding.verdict == app.WRONG]
    return any("no second token is known to hold the same keys" in finding.text for finding in findings)


def test_with_the_recovery_key_everything_moves_to_another_token(
    installed: Installed, recovery: Recovery, tmp_path: Path, kms_client: KmsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").mkdir()
    new = make_softhsm(tmp_path / "new", "new")
    monkeypatch.setenv("SOFTHSM2_CONF", new.environment["SOFTHSM2_CONF"])  # the old token is not there any more
    copy = installed.copy(tmp_path, (f"token: {installed.token}", "token: new"))
    before = contents(copy)
    fingerprint = recovery_fingerprint(read_domain_keys(copy.data / "strongroom.db")[1])
    move = ("hsm", "move", "--config", copy.config, "--fingerprint", fingerprint, "--recovery-key")
    empty = tmp_path / "no-passphrase"
    empty.touch(0o600)
    told = refused(command(*move, recovery.another, "--passphrase-file", empty))
    assert told == "the recovery key is not the one that this installation was made with"
    told = refused(command(*move, recovery.private, "--passphrase-file", empty))
    assert told == "the recovery key is not a private key in PEM, or its passphrase is another one"
    assert contents(copy) == before
    assert objects_in(new, "new") == 0

    moved = command(*move, recovery.private, "--passphrase-file", recovery.passphrase)
    assert (moved.returncode, moved.stderr) == (0, "")
    assert moved.stdout == f"Moved {len(KINDS)} key materials and the service's own keys to the token\n"
    assert objects_in(new, "new") == len(PURPOSES)
    with running_server(copy.data) as server:
        kms = kms_client(server)
        assert_all_work(kms, installed)
        key_id = create(kms, *KINDS["mac"])
        assert kms.generate_mac(KeyId=key_id, Message=b"message", MacAlgorithm="HMAC_SHA_512")["Mac"]
    assert [record["eventName"] for record in recorded(copy.data)].count("MoveToHsm") == 1
    assert_log_verifies(copy.data)


def contents(installed: Installed) -> list[tuple[Any, ...]]:
    """What the database says of keys."""
    with closing(sqlite3.connect(installed.data / "strongroom.db")) as connection:
        tables = ("domain_keys", "key_materials", "installation")
        return [row for table in tables for row in connection.execute(f"SELECT * FROM {table}")]


def test_material_that_was_given_to_another_key_is_refused(installed: Installed, tmp_path: Path) -> None:
    copy = installed.copy(tmp_path)
    with closing(sqlite3.connect(copy.data / "strongroom.db")) as connection, connection:
        rows = dict(connection.execute("SELECT key_id, wrapped FROM key_materials"))
        ours, theirs = installed.keys["mac"], installed.keys["symmetric"]
        connection.execute("UPDATE key_materials SET wrapped = ? WHERE key_id = ?", (rows[theirs], ours))
    told = command("doctor", "--config", copy.config)
    assert told.returncode == 1
    assert "key_materials" in "".join(line for line in told.stdout.splitlines() if line.startswith(app.WRONG))
