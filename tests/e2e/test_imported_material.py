"""Key material that its owner makes and wraps, with OpenSSL and with cryptography, through boto3.

What the clock decides is in tests/unit/operations/kms and tests/fault.
"""

import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.crosschecks.openssl import openssl
from tests.e2e.calls import refusal
from tests.importing import ALGORITHMS, import_material, parameters_to_import

Wrap = Callable[[Any, str, bytes, str, Path], dict[str, Any]]


def by_cryptography(kms: Any, key_id: str, material: bytes, algorithm: str, _folder: Path) -> dict[str, Any]:
    return parameters_to_import(kms, key_id, material, algorithm, "RSA_3072")


def by_openssl(kms: Any, key_id: str, material: bytes, algorithm: str, folder: Path) -> dict[str, Any]:
    """As AWS's guide does it ("Step 3: Encrypt the key material")."""
    parameters = kms.get_parameters_for_import(KeyId=key_id, WrappingAlgorithm=algorithm, WrappingKeySpec="RSA_2048")
    public, plain, between = folder / "public.der", folder / "material", folder / "aes-key"
    public.write_bytes(parameters["PublicKey"])
    plain.write_bytes(material)
    hash_ = "sha256" if algorithm.endswith("256") else "sha1"
    options = [
        option
        for name in ("rsa_padding_mode:oaep", f"rsa_oaep_md:{hash_}", f"rsa_mgf1_md:{hash_}")
        for option in ("-pkeyopt", name)
    ]
    encrypt: list[str | Path] = ["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", public, *options, "-in"]
    if algorithm.startswith("RSAES"):
        encrypted = openssl(*encrypt, plain)
    else:
        between.write_bytes(openssl("rand", "32"))
        wrap: list[str | Path] = [
            "enc",
            "-id-aes256-wrap-pad",
            "-K",
            between.read_bytes().hex(),
            "-iv",
            "A65959A6",
            "-in",
            plain,
        ]
        encrypted = openssl(*encrypt, between) + openssl(*wrap)
    return {
        "ImportToken": parameters["ImportToken"],
        "EncryptedKeyMaterial": encrypted,
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }


def external_key(kms: Any, key_spec: str = "SYMMETRIC_DEFAULT", key_usage: str = "ENCRYPT_DECRYPT") -> Any:
    return kms.create_key(Origin="EXTERNAL", KeySpec=key_spec, KeyUsage=key_usage)["KeyMetadata"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("wrap", [by_cryptography, by_openssl])
def test_a_symmetric_key_is_imported_used_deleted_and_imported_again(
    kms: Any, tmp_path: Path, wrap: Wrap, algorithm: str
) -> None:
    key_id, material = external_key(kms)["KeyId"], secrets.token_bytes(32)
    to_import = wrap(kms, key_id, material, algorithm, tmp_path)
    imported = kms.import_key_material(KeyId=key_id, **to_import)
    encrypted = kms.encrypt(KeyId=key_id, Plaintext=b"plaintext", EncryptionContext={"a": "b"})["CiphertextBlob"]
    data_key = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256")
    assert data_key["KeyMaterialId"] == imported["KeyMaterialId"]

    deleted = kms.delete_imported_key_material(KeyId=key_id)
    assert deleted["KeyMaterialId"] == imported["KeyMaterialId"]
    assert refusal(kms.decrypt, CiphertextBlob=encrypted, EncryptionContext={"a": "b"})[0] == "KMSInvalidStateException"
    other = wrap(kms, key_id, secrets.token_bytes(32), algorithm, tmp_path)
    assert refusal(kms.import_key_material, KeyId=key_id, **other) == ("IncorrectKeyMaterialException", "")
    short = wrap(kms, key_id, material[:-1], algorithm, tmp_path)
    assert refusal(kms.import_key_material, KeyId=key_id, **short) == ("IncorrectKeyMaterialException", "")
    again = kms.import_key_material(KeyId=key_id, **wrap(kms, key_id, material, algorithm, tmp_path))
    assert again["KeyMaterialId"] == imported["KeyMaterialId"]
    decrypted = kms.decrypt(CiphertextBlob=encrypted, EncryptionContext={"a": "b"})
    assert (decrypted["Plaintext"], decrypted["KeyMaterialId"]) == (b"plaintext", imported["KeyMaterialId"])
    assert kms.decrypt(CiphertextBlob=data_key["CiphertextBlob"])["Plaintext"] == data_key["Plaintext"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("wrap", [by_cryptography, by_openssl])
def test_an_hmac_key_makes_its_owners_macs(kms: Any, tmp_path: Path, wrap: Wrap, algorithm: str) -> None:
    key_id, material = external_key(kms, "HMAC_512", "GENERATE_VERIFY_MAC")["KeyId"], secrets.token_bytes(100)
    kms.import_key_material(KeyId=key_id, **wrap(kms, key_id, material, algorithm, tmp_path))
    mac = kms.generate_mac(KeyId=key_id, Message=b"message", MacAlgorithm="HMAC_SHA_512")["Mac"]
    assert mac == hmac.digest(material, b"message", "sha512")


def pkcs8(key: Any) -> bytes:
    made: bytes = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return made


def spki(key: Any) -> bytes:
    made: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return made


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("wrap", [by_cryptography, by_openssl])
def test_an_elliptic_curve_key_signs_as_its_owners(kms: Any, tmp_path: Path, wrap: Wrap, algorithm: str) -> None:
    owned = ec.generate_private_key(ec.SECP384R1())
    key_id = external_key(kms, "ECC_NIST_P384", "SIGN_VERIFY")["KeyId"]
    kms.import_key_material(KeyId=key_id, **wrap(kms, key_id, pkcs8(owned), algorithm, tmp_path))
    assert kms.get_public_key(KeyId=key_id)["PublicKey"] == spki(owned)
    signed = kms.sign(KeyId=key_id, Message=b"message", SigningAlgorithm="ECDSA_SHA_384")["Signature"]
    owned.public_key().verify(signed, b"message", ec.ECDSA(SHA384()))


@pytest.mark.parametrize("algorithm", ["RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"])
@pytest.mark.parametrize("wrap", [by_cryptography, by_openssl])
def test_an_rsa_key_signs_as_its_owners(kms: Any, tmp_path: Path, wrap: Wrap, algorithm: str) -> None:
    owned = rsa.generate_private_key(65537, 2048)
    key_id = external_key(kms, "RSA_2048", "SIGN_VERIFY")["KeyId"]
    kms.import_key_material(KeyId=key_id, **wrap(kms, key_id, pkcs8(owned), algorithm, tmp_path))
    assert kms.get_public_key(KeyId=key_id)["PublicKey"] == spki(owned)
    asked = {"Message": b"message", "SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256"}
    signed = kms.sign(KeyId=key_id, **asked)["Signature"]
    owned.public_key().verify(signed, b"message", padding.PKCS1v15(), SHA256())
    kms.delete_imported_key_material(KeyId=key_id)
    assert refusal(kms.sign, KeyId=key_id, **asked)[0] == "KMSInvalidStateException"
    assert kms.get_public_key(KeyId=key_id)["PublicKey"] == spki(owned)
    other = wrap(kms, key_id, pkcs8(rsa.generate_private_key(65537, 2048)), algorithm, tmp_path)
    assert refusal(kms.import_key_material, KeyId=key_id, **other) == ("IncorrectKeyMaterialException", "")
    kms.import_key_material(KeyId=key_id, **wrap(kms, key_id, pkcs8(owned), algorithm, tmp_path))
    assert kms.sign(KeyId=key_id, **asked)["Signature"] == signed


def test_an_edwards_key_signs_as_its_owners(kms: Any) -> None:
    owned = ed25519.Ed25519PrivateKey.generate()
    key_id = external_key(kms, "ECC_NIST_EDWARDS25519", "SIGN_VERIFY")["KeyId"]
    import_material(kms, key_id, pkcs8(owned))
    signed = kms.sign(KeyId=key_id, Message=b"message", SigningAlgorithm="ED25519_SHA_512")["Signature"]
    assert signed == owned.sign(b"message")


def test_a_key_agrees_as_its_owners(kms: Any) -> None:
    owned, theirs = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    key_id = external_key(kms, "ECC_NIST_P256", "KEY_AGREEMENT")["KeyId"]
    import_material(kms, key_id, pkcs8(owned), "RSA_AES_KEY_WRAP_SHA_256")
    agreed = kms.derive_shared_secret(KeyId=key_id, KeyAgreementAlgorithm="ECDH", PublicKey=spki(theirs))
    assert agreed["SharedSecret"] == theirs.exchange(ec.ECDH(), owned.public_key())
    assert agreed["KeyOrigin"] == "EXTERNAL"


def test_an_rsa_key_decrypts_what_was_encrypted_for_its_owner(kms: Any) -> None:
    owned = rsa.generate_private_key(65537, 2048)
    key_id = external_key(kms, "RSA_2048")["KeyId"]
    import_material(kms, key_id, pkcs8(owned), "RSA_AES_KEY_WRAP_SHA_256")
    oaep = padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
    ciphertext = owned.public_key().encrypt(b"plaintext", oaep)
    decrypted = kms.decrypt(KeyId=key_id, CiphertextBlob=ciphertext, EncryptionAlgorithm="RSAES_OAEP_SHA_256")
    assert decrypted["Plaintext"] == b"plaintext"


def test_the_same_material_in_two_keys_is_no_common_key(kms: Any) -> None:
    material = secrets.token_bytes(32)
    first, second = (external_key(kms)["KeyId"] for _ in range(2))
    ids = [import_material(kms, key_id, material)["KeyMaterialId"] for key_id in (first, second)]
    assert ids[0] != ids[1]
    blob = kms.encrypt(KeyId=first, Plaintext=b"x")["CiphertextBlob"]
    assert refusal(kms.decrypt, KeyId=second, CiphertextBlob=blob)[0] == "IncorrectKeyException"
