"""Real tokens, and what an attacker makes of them."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import ExpiredIdentityToken, InvalidIdentityToken, RequestError
from strongroom.web_identity.tokens import Claims, Key, claimed_issuer, fitting_key, key_of, verify
from tests.issuer import Issuer, unsigned


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    made = Issuer(tmp_path_factory.mktemp("issuer"))
    yield made
    made._server.server_close()


def keys_of(issuer: Issuer) -> list[Key]:
    found = json.loads(issuer.documents()["/a/keys"])["keys"]
    return [key for document in found if (key := key_of(document)) is not None]


def verified(issuer: Issuer, token: str, now: float | None = None, client_ids: tuple[str, ...] = ("app",)) -> Claims:
    assert claimed_issuer(token)
    key = fitting_key(keys_of(issuer), token)
    if key is None:
        raise InvalidIdentityToken("no key fits")
    return verify(token, key, issuer=issuer.url, client_ids=client_ids, now=time.time() if now is None else now)


def refused(issuer: Issuer, token: str, error: type[RequestError] = InvalidIdentityToken, **given: Any) -> None:
    with pytest.raises(error):
        verified(issuer, token, **given)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"])
@pytest.mark.parametrize("stated", [True, False])
def test_algorithms(issuer: Issuer, algorithm: str, *, stated: bool) -> None:
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    private = ec.generate_private_key(curves[algorithm]) if algorithm in curves else issuer.keys["rsa"][1]
    public: Any = jwt.get_algorithm_by_name(algorithm)
    document = public.to_jwk(private.public_key(), as_dict=True) | ({"alg": algorithm} if stated else {})
    key = key_of(document)
    assert key is not None
    claims = {"iss": issuer.url, "sub": "x", "aud": "app", "iat": 1, "exp": 2**31}
    token = jwt.encode(claims, private, algorithm)
    assert fitting_key([key], token) == key
    assert verify(token, key, issuer=issuer.url, client_ids=["app"], now=2.0).subject == "x"
    other = "RS384" if algorithm == "RS256" else "RS256"
    assert (fitting_key([key], unsigned(token, alg=other)) is not None) == (algorithm[:2] == "RS" and not stated)


@pytest.mark.parametrize("key_id", ["rsa", "ec"])
def test_a_token_of_the_issuer_is_believed(issuer: Issuer, key_id: str) -> None:
    claims = verified(issuer, issuer.token(key_id, amr=["pwd", 1], email="a@example.com"))
    assert claims == Claims("job-1", "app", ("app",), ("pwd",), "a@example.com")


def test_the_authorized_party_is_the_audience_if_there_is_one(issuer: Issuer) -> None:
    both = issuer.token(aud=["other", "app"])
    assert verified(issuer, both).audience == "app"
    party = issuer.token(aud=["x", "y"], azp="app")
    assert verified(issuer, party)[1:3] == ("app", ("x", "y"))
    refused(issuer, issuer.token(aud="app", azp="other"))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"}, {"aud": None}, {"aud": []}, {"aud": ["other"]}, {"sub": None}, {"sub": ""},
        {"iss": "https://other"}, {"exp": None}, {"iat": None}, {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
    ],
)  # fmt: skip
def test_a_token_without_what_is_needed_is_refused(issuer: Issuer, claims: dict[str, Any]) -> None:
    refused(issuer, issuer.token(**claims))


def test_a_token_is_good_until_its_end(issuer: Issuer) -> None:
    now = int(time.time())
    token = issuer.token(iat=now, exp=now + 100)
    verified(issuer, token, now=now + 99.9)
    refused(issuer, token, ExpiredIdentityToken, now=now + 100)
    refused(issuer, token, now=now - 120)
    for end in ("2030", True, [1], now + 600.5, float("inf"), float("nan")):
        refused(issuer, issuer_with(issuer, exp=end))


def issuer_with(issuer: Issuer, **claims: Any) -> str:
    """A token with claims that an honest library would not write."""
    stated = json.loads(base64.urlsafe_b64decode(issuer.token().split(".")[1] + "==")) | claims
    return signed(issuer, json.dumps(stated))


def signed(issuer: Issuer, payload: str, header: str = '{"alg": "RS256", "kid": "rsa"}') -> str:
    """A token of these texts, with a good signature of RS256."""
    parts = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in (header, payload))
    signature = jwt.get_algorithm_by_name("RS256").sign(parts.encode(), issuer.keys["rsa"][1])
    return f"{parts}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.mark.parametrize(
    "header",
    [
        '{"alg": "RS256", "alg": "RS256", "kid": "rsa"}', '{"alg": [], "kid": "rsa"}', '{"alg": {}, "kid": "rsa"}',
        '{"alg": null}', "{}", "[]", '{"alg": "RS256", "kid": null}', '{"alg": "RS256", "kid": 1}',
        '{"alg": "RS256", "kid": "rsa", "b64": false}', '{"alg": "rs256", "kid": "rsa"}',
    ],
)  # fmt: skip
def test_headers_that_are_none_are_refused(issuer: Issuer, header: str) -> None:
    now = int(time.time())
    payload = json.dumps({"iss": issuer.url, "sub": "job-1", "aud": "app", "iat": now, "exp": now + 600})
    verified(issuer, signed(issuer, payload))
    refused(issuer, signed(issuer, payload, header))


def test_payloads_that_are_none_are_refused(issuer: Issuer) -> None:
    now = int(time.time())
    good = f'"iss": "{issuer.url}", "aud": "app", "iat": {now}, "exp": {now + 600}'
    verified(issuer, signed(issuer, f'{{{good}, "sub": "a"}}'))
    for payload in (
        f'{{{good}, "sub": "a", "sub": "b"}}',
        f'{{{good}, "sub": "a", "more": {{"x": 1, "x": 2}}}}',
        f'{{{good}, "sub": "a", "more": ["\\ud800"]}}',
        f'{{{good}, "sub": "a\\u0000"}}',
        f'{{{good}, "sub": "{"a" * 256}"}}',
        f'{{{good}, "sub": "a", "https://aws.amazon.com/tags": {{"principal_tags": {{"team": ["a"]}}}}}}',
        f'[{{{good}, "sub": "a"}}]',
        "1",
        "",
    ):
        refused(issuer, signed(issuer, payload))


@pytest.mark.parametrize("claimed", ["https://\x00", "https://\n", "https://\ud800", "", None, 1, ["https://a"]])
def test_an_issuer_that_cannot_be_shown_is_refused(issuer: Issuer, claimed: object) -> None:
    """Refused before anything is verified: the text of an error names the issuer."""
    with pytest.raises(InvalidIdentityToken, match="not a valid JWT"):
        claimed_issuer(issuer_with(issuer, iss=claimed) if claimed else issuer.token(iss=None))


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "email", "other"])
def test_half_a_character_is_refused_before_anything_is_told_of_it(issuer: Issuer, claim: str) -> None:
    with pytest.raises(InvalidIdentityToken) as error:
        claimed_issuer(issuer_with(issuer, **{claim: "\ud800"}))
    assert "\ud800" not in (error.value.message or "")


def test_algorithms_cannot_be_confused(issuer: Issuer) -> None:
    token = issuer.token()
    for algorithm in ("none", "None", "HS256", "PS256", "EdDSA"):
        refused(issuer, unsigned(token, alg=algorithm, kid="rsa"))
    public = issuer.keys["rsa"][1].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    payload = {"iss": issuer.url, "sub": "x", "aud": "app", "iat": 1, "exp": 2**31}
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in
               ({"alg": "HS256", "kid": "rsa"}, payload)]  # fmt: skip
    mac = jwt.get_algorithm_by_name("HS256").sign(".".join(encoded).encode(), public)
    refused(issuer, f"{'.'.join(encoded)}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")
    refused(issuer, unsigned(token, alg="ES256", kid="rsa"))
    refused(issuer, unsigned(token, alg="RS512", kid="rsa"))


def test_a_key_fits_by_its_id_kind_use_and_size(issuer: Issuer) -> None:
    refused(issuer, issuer.token(header={"kid": "other"}))
    verified(
        issuer,
        jwt.encode(
            {"iss": issuer.url, "sub": "x", "aud": "app", "iat": 1, "exp": 2**31},
            issuer.keys["rsa"][1],
            "RS256",
        ),
    )  # without an id there is one key that fits
    other = rsa.generate_private_key(65537, 2048)
    forged = jwt.encode({"iss": issuer.url, "sub": "x", "aud": "app", "iat": 1, "exp": 2**31}, other, "RS256",
                        headers={"kid": "rsa"})  # fmt: skip
    refused(issuer, forged)
    for use, algorithm, expected in (("enc", "RS256", 0), ("sig", "RS512", 0), ("sig", None, 1), (None, None, 1)):
        given = {"use": use, "alg": algorithm}
        document = json.loads(issuer.documents()["/a/keys"])["keys"][0] | given
        key = key_of({name: value for name, value in document.items() if value is not None})
        assert (fitting_key([key] if key else [], issuer.token()) is not None) == bool(expected)
    twice = keys_of(issuer) * 2
    assert fitting_key(twice, issuer.token()) is None
    small = rsa.generate_private_key(65537, 1024)
    weak = Issuer.__new__(Issuer)
    weak.url, weak.keys = issuer.url, {"rsa": ("RS256", small)}
    assert fitting_key(keys_of(weak), unsigned(issuer.token(), alg="RS256")) is None
    weak.keys = {"ec": ("ES256", ec.generate_private_key(ec.SECP384R1()))}
    assert fitting_key(keys_of(weak), issuer.token("ec")) is None


def test_a_token_that_lists_what_must_be_understood_is_refused(issuer: Issuer) -> None:
    refused(issuer, issuer.token(header={"crit": ["exp"]}))


@given(st.integers(0, 10**6), st.sampled_from("AZaz09-_"))
def test_a_changed_character_is_refused(issuer: Issuer, place: int, put: str) -> None:
    token = issuer.token("ec")
    place %= len(token) - 1  # the last character has bits that say nothing
    if token[place] != put and token[place] != ".":
        refused(issuer, token[:place] + put + token[place + 1 :])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["RS256", "rsa", "none", "\ud800", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)
HEADERS = st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ", "jwk", "jku"]), VALUES)
PAYLOADS = st.dictionaries(st.sampled_from(["sub", "aud", "azp", "exp", "iat", "nbf", "amr", "email"]), VALUES)


@given(HEADERS | VALUES, PAYLOADS | VALUES)
def test_what_a_stranger_says_is_refused(issuer: Issuer, header: Any, payload: Any) -> None:
    stated = payload | {"iss": issuer.url} if isinstance(payload, dict) else payload
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, stated)]
    refused(issuer, f"{'.'.join(parts)}.AAAA")


@given(PAYLOADS)
def test_what_an_issuer_says_is_believed_or_refused(issuer: Issuer, payload: dict[str, Any]) -> None:
    now = int(time.time())
    good = {"iss": issuer.url, "sub": "job-1", "aud": "app", "iat": now, "exp": now + 600}
    try:
        claims = verified(issuer, signed(issuer, json.dumps(good | payload)))
    except (InvalidIdentityToken, ExpiredIdentityToken):
        return
    assert claims.audience == "app"
    assert payload.get("exp", now + 600) > now


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b", "a.b.c.d", "\ud800.a.b", "é.é.é", "e30.e30.", "e30.e30"])
def test_any_other_text_is_refused(issuer: Issuer, text: str) -> None:
    refused(issuer, text)


@pytest.mark.parametrize("parts", [2, 4])
def test_a_token_has_three_parts(issuer: Issuer, parts: int) -> None:
    refused(issuer, ".".join([*issuer.token().split("."), "AAAA"][:parts]))


def test_a_token_that_is_too_long_is_refused(issuer: Issuer) -> None:
    refused(issuer, issuer.token(more="x" * 20_000))
    refused(issuer, f"{'[' * 15_000}.a.b")
