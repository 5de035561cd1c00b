"""IP addresses, as they are judged before something is connected to."""

import ipaddress

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def meant(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that is really meant: one of IPv6 that stands for one of IPv4 is that. Raises ValueError."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed
    if parsed in _NAT64:
        return ipaddress.IPv4Address(parsed.packed[-4:])
    return parsed.ipv4_mapped or parsed.sixtofour or parsed
