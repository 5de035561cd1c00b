"""The AWS Encryption SDK for Python: its KMS keyrings, its older master key provider, and its cache of data keys."""

import base64

import aws_encryption_sdk
import boto3
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import (
    CreateAwsKmsEcdhKeyringInput,
    CreateAwsKmsMultiKeyringInput,
    CreateAwsKmsRsaKeyringInput,
    KmsEcdhStaticConfigurations,
    KmsEcdhStaticConfigurationsKmsPrivateKeyToStaticPublicKey,
    KmsEcdhStaticConfigurationsKmsPublicKeyDiscovery,
    KmsPrivateKeyToStaticPublicKeyInput,
    KmsPublicKeyDiscoveryInput,
)
from aws_cryptographic_material_providers.mpl.references import IKeyring
from aws_encryption_sdk.identifiers import AlgorithmSuite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from tests.compat.answering import answer_lines

CLIENT = aws_encryption_sdk.EncryptionSDKClient()
PROVIDERS = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
KMS = boto3.client("kms")


def keyring(keys: list[str]) -> IKeyring:
    """A keyring whose first key makes data keys and whose others wrap them as well."""
    return PROVIDERS.create_aws_kms_multi_keyring(
        CreateAwsKmsMultiKeyringInput(generator=keys[0], kms_key_ids=keys[1:])
    )


def encrypt(keys: list[str], plaintext: str, context: dict[str, str]) -> str:
    message, _ = CLIENT.encrypt(source=plaintext.encode(), keyring=keyring(keys), encryption_context=context)
    return base64.b64encode(message).decode()


def decrypt(keys: list[str], message: str) -> tuple[str, dict[str, str]]:
    plaintext, header = CLIENT.decrypt(source=base64.b64decode(message), keyring=keyring(keys))
    return plaintext.decode(), header.encryption_context


def encrypt_with_master_keys(keys: list[str], plaintext: str, context: dict[str, str]) -> str:
    provider = aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=keys)
    message, _ = CLIENT.encrypt(source=plaintext.encode(), key_provider=provider, encryption_context=context)
    return base64.b64encode(message).decode()


def decrypt_with_master_keys(keys: list[str], message: str) -> tuple[str, dict[str, str]]:
    provider = aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=keys)
    plaintext, header = CLIENT.decrypt(source=base64.b64decode(message), key_provider=provider)
    return plaintext.decode(), header.encryption_context


def encrypt_cached(keys: list[str], plaintexts: list[str], context: dict[str, str]) -> list[str]:
    manager = aws_encryption_sdk.CachingCryptoMaterialsManager(
        master_key_provider=aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=keys),
        cache=aws_encryption_sdk.LocalCryptoMaterialsCache(capacity=10),
        max_age=600.0,
    )
    return [
        base64.b64encode(
            CLIENT.encrypt(source=plaintext.encode(), materials_manager=manager, encryption_context=context)[0]
        ).decode()
        for plaintext in plaintexts
    ]


def rsa_keyring(key: str, algorithm: str) -> IKeyring:
    """A keyring that wraps with the public key, here, and unwraps with the KMS key."""
    public_key = load_der_public_key(KMS.get_public_key(KeyId=key)["PublicKey"])
    return PROVIDERS.create_aws_kms_rsa_keyring(
        CreateAwsKmsRsaKeyringInput(
            kms_key_id=key,
            encryption_algorithm=algorithm,
            public_key=public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            kms_client=KMS,
        )
    )


def encrypt_with_rsa(key: str, algorithm: str, plaintext: str, context: dict[str, str]) -> str:
    message, _ = CLIENT.encrypt(
        source=plaintext.encode(),
        keyring=rsa_keyring(key, algorithm),
        encryption_context=context,
        algorithm=AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,  # the keyring takes none that signs
    )
    return base64.b64encode(message).decode()


def decrypt_with_rsa(key: str, algorithm: str, message: str) -> tuple[str, dict[str, str]]:
    plaintext, header = CLIENT.decrypt(source=base64.b64decode(message), keyring=rsa_keyring(key, algorithm))
    return plaintext.decode(), header.encryption_context


def ecdh_keyring(scheme: KmsEcdhStaticConfigurations, curve: str) -> IKeyring:
    return PROVIDERS.create_aws_kms_ecdh_keyring(
        CreateAwsKmsEcdhKeyringInput(key_agreement_scheme=scheme, curve_spec=curve, kms_client=KMS)
    )


def encrypt_with_ecdh(sender: str, recipient: str, curve: str, plaintext: str, context: dict[str, str]) -> str:
    between = KmsPrivateKeyToStaticPublicKeyInput(
        sender_kms_identifier=sender, recipient_public_key=KMS.get_public_key(KeyId=recipient)["PublicKey"]
    )
    keyring = ecdh_keyring(KmsEcdhStaticConfigurationsKmsPrivateKeyToStaticPublicKey(between), curve)
    message, _ = CLIENT.encrypt(source=plaintext.encode(), keyring=keyring, encryption_context=context)
    return base64.b64encode(message).decode()


def decrypt_with_ecdh(recipient: str, curve: str, message: str) -> tuple[str, dict[str, str]]:
    of = KmsPublicKeyDiscoveryInput(recipient_kms_identifier=recipient)
    keyring = ecdh_keyring(KmsEcdhStaticConfigurationsKmsPublicKeyDiscovery(of), curve)
    plaintext, header = CLIENT.decrypt(source=base64.b64decode(message), keyring=keyring)
    return plaintext.decode(), header.encryption_context


if __name__ == "__main__":
    answer_lines(
        encrypt,
        decrypt,
        encrypt_with_master_keys,
        decrypt_with_master_keys,
        encrypt_cached,
        encrypt_with_rsa,
        decrypt_with_rsa,
        encrypt_with_ecdh,
        decrypt_with_ecdh,
    )
