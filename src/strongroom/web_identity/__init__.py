"""Web identities: tokens of OpenID Connect providers, and the keys that verify them."""
