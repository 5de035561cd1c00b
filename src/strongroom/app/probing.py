"""What an HSM can do, for people: what runs in it, what could be done otherwise and with what loss, what cannot."""

from typing import NamedTuple

from strongroom.app.hardware import place_of
from strongroom.config import Config
from strongroom.errors import ConfigurationError, HsmError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.capabilities import WEAKER_WAYS, Capabilities
from strongroom.keystores.hsm.opening import probe_token
from strongroom.model.key_specs import KEY_SPECS, SYMMETRIC_DEFAULT

_WRAPPINGS = {
    p11.CKM_AES_KEY_WRAP_KWP: "RFC 5649 (CKM_AES_KEY_WRAP_KWP)",
    p11.CKM_AES_KEY_WRAP_PAD: "RFC 5649 (CKM_AES_KEY_WRAP_PAD, which is that here)",
    p11.CKM_AES_CBC_PAD: "AES-256-CBC (CKM_AES_CBC_PAD)",
}

_IMPORTS = {
    "RSAES_OAEP_SHA_1": ("RSAES_OAEP_SHA_1", False),
    "RSAES_OAEP_SHA_256": ("RSAES_OAEP_SHA_256", False),
    "RSA_AES_KEY_WRAP_SHA_1": ("RSAES_OAEP_SHA_1", True),
    "RSA_AES_KEY_WRAP_SHA_256": ("RSAES_OAEP_SHA_256", True),
}
"""Wrapping algorithm -> the algorithm of the RSA key, and whether an AES key is between it and the material."""


class Probed(NamedTuple):
    """What was found, as text, and whether the token protects anything with what is allowed."""

    text: str
    usable: bool


def probe_hsm(config: Config) -> Probed:
    """Prove what the token of a configuration can do. It may be empty. Raises HsmError, ConfigurationError."""
    if config.hsm is None:
        raise ConfigurationError("the configuration names no HSM")
    can = probe_token(place_of(config, config.hsm))
    allowed = config.hsm.allow
    lines = [f"library    {can.description}", f"token      {config.hsm.token}", *_rules(can)]
    try:
        needed = can.needs()
    except HsmError as error:
        return Probed("\n".join([*lines, f"REFUSED    {error}", ""]), usable=False)
    lines += ["", "keys"]
    ways = dict.fromkeys(needed)
    for spec, row in KEY_SPECS.items():
        for usage in row.algorithms:
            way = can.way(spec, usage)
            if way:
                ways[way] = None
            lines.append(f"  {spec:<22} {usage:<24} {_told(way, way in allowed)}")
    lines += ["", "key material that is imported, wrapped by"]
    for algorithm, (oaep, two_steps) in _IMPORTS.items():
        way = can.import_way(SYMMETRIC_DEFAULT, oaep, two_steps=two_steps)
        if way:
            ways[way] = None
        lines.append(f"  {algorithm:<47} {_told(way, way in allowed)}")
    if ways:
        lines += ["", "weaker ways (hsm.allow)"]
        lines += [f"  {way:<20} {'allowed' if way in allowed else 'refused'}: {WEAKER_WAYS[way]}" for way in ways]
    return Probed("\n".join([*lines, ""]), usable=all(way in allowed for way in needed))


def _rules(can: Capabilities) -> list[str]:
    wrapping = "nothing that is proven" if can.wrap is None else _WRAPPINGS[can.wrap]
    keeps = "keeps" if can.allowed_mechanisms else "DOES NOT keep"
    changed = "cannot" if can.unmodifiable else "CAN"
    return [
        f"wrapping   {wrapping}",
        f"rules      opened key material {'cannot' if can.unwrap_template else 'CAN'} be given other attributes",
        f"           it {keeps} to its mechanisms, and its attributes {changed} be changed",
    ]


def _told(way: str | None, allowed: bool) -> str:  # noqa: FBT001 — of the way
    if way is None:
        return "not possible"
    if not way:
        return "in the HSM"
    return f"{way}: {'allowed' if allowed else 'refused, not allowed'}"
