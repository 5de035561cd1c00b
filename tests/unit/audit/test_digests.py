import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.audit.digests import (
    ClosedSegment,
    DigestLink,
    SignedDigest,
    digest_path,
    fingerprint,
    is_signed,
    load_public_key,
    read_digest,
    signature_path,
    write_digest,
)
from strongroom.model.installation import Installation
from strongroom.storage.contract import Position

SEGMENT = ClosedSegment(
    number=7,
    start_time="2026-09-21T14:00:00Z",
    end_time="2026-09-21T15:00:00Z",
    first_sequence=100,
    last_sequence=220,
    last_mac=bytes(range(32)),
    size=12345,
    sha256="ab" * 32,
)
PREVIOUS = DigestLink("cd" * 32, "ef" * 256)


@pytest.fixture
def chain_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "node1.x"
    directory.mkdir()
    return directory


def sign(
    directory: Path, installation: Installation, key: RSAPrivateKey, *, previous: DigestLink | None = PREVIOUS
) -> SignedDigest:
    position = Position(41, b"\x01" * 32)
    link = write_digest(
        directory, SEGMENT, installation=installation, digest_key=key, position=position, previous=previous
    )
    signed = read_digest(directory, 7)
    assert signed is not None
    assert signed.link == link
    return signed


def test_a_digest_says_what_it_was_told(
    chain_directory: Path, installation: Installation, digest_key: RSAPrivateKey
) -> None:
    digest = sign(chain_directory, installation, digest_key).digest
    assert (digest.installation_id, digest.chain_id, digest.segment) == (installation.installation_id, "node1.x", 7)
    assert (digest.digest_start_time, digest.digest_end_time) == (SEGMENT.start_time, SEGMENT.end_time)
    assert (digest.first_sequence, digest.last_sequence, digest.last_mac) == (100, 220, bytes(range(32)).hex())
    assert (digest.log_file.name, digest.log_file.size, digest.log_file.hash_value) == (
        "00000007.log",
        12345,
        "ab" * 32,
    )
    assert (digest.database_position.number, digest.database_position.chain) == (41, "01" * 32)
    assert (digest.previous_digest_hash_value, digest.previous_digest_signature) == PREVIOUS
    assert digest.digest_public_key_fingerprint == sha256(installation.digest_public_key).hexdigest()
    assert digest.digest_public_key_fingerprint == fingerprint(installation.digest_public_key)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@pytest.mark.parametrize("previous", [PREVIOUS, None])
def test_openssl_verifies_a_digest_with_the_public_key_alone(
    chain_directory: Path,
    installation: Installation,
    digest_key: RSAPrivateKey,
    tmp_path: Path,
    previous: DigestLink | None,
) -> None:
    sign(chain_directory, installation, digest_key, previous=previous)
    content = digest_path(chain_directory, 7).read_bytes()
    text = (
        f"2026-09-21T15:00:00Z\nnode1.x/00000007.digest\n{sha256(content).hexdigest()}\n"
        f"{previous.signature if previous else 'null'}"
    )
    (tmp_path / "text").write_text(text)
    (tmp_path / "signature").write_bytes(bytes.fromhex(signature_path(chain_directory, 7).read_text()))
    public_key = load_public_key(installation.digest_public_key)
    (tmp_path / "key.pem").write_bytes(public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "text"]
    verified = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert verified.stdout == "Verified OK\n"


def test_only_the_installations_key_signs(
    chain_directory: Path, installation: Installation, digest_key: RSAPrivateKey
) -> None:
    signed = sign(chain_directory, installation, digest_key)
    other = generate_private_key(public_exponent=65537, key_size=2048)
    assert is_signed(signed, digest_key.public_key())
    assert not is_signed(signed, other.public_key())
    assert not is_signed(signed._replace(signature="00"), digest_key.public_key())
    assert not is_signed(signed._replace(signature="not hex"), digest_key.public_key())


def test_any_edit_and_any_move_of_a_digest_is_found(
    chain_directory: Path, installation: Installation, digest_key: RSAPrivateKey
) -> None:
    signed = sign(chain_directory, installation, digest_key)
    public_key = digest_key.public_key()
    path = digest_path(chain_directory, 7)
    path.write_bytes(signed.content.replace(b'"number": 41', b'"number": 40'))
    edited = read_digest(chain_directory, 7)
    assert edited is not None
    assert edited.digest.database_position.number == 40
    assert not is_signed(edited, public_key)
    path.write_bytes(signed.content)
    moved = chain_directory.rename(chain_directory.with_name("node2.x"))
    elsewhere = read_digest(moved, 7)
    assert elsewhere is not None
    assert not is_signed(elsewhere, public_key)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[]", b'{"segment":"x"}'])
def test_what_is_not_a_digest_reads_as_none(
    chain_directory: Path, installation: Installation, digest_key: RSAPrivateKey, content: bytes
) -> None:
    sign(chain_directory, installation, digest_key)
    digest_path(chain_directory, 7).write_bytes(content)
    assert read_digest(chain_directory, 7) is None


@pytest.mark.parametrize("missing", [digest_path, signature_path])
def test_half_a_digest_reads_as_none(
    chain_directory: Path, installation: Installation, digest_key: RSAPrivateKey, missing: object
) -> None:
    sign(chain_directory, installation, digest_key)
    assert callable(missing)
    missing(chain_directory, 7).unlink()
    assert read_digest(chain_directory, 7) is None


def test_a_public_key_of_another_kind_is_refused() -> None:
    public_key = generate_ec(SECP256R1()).public_key()
    with pytest.raises(ValueError, match="RSA"):
        load_public_key(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
