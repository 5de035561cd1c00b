"""External key stores: the KMS side of the external key store proxy API, version 1 (AWS's XKS specification 1.0.3).

Each ciphertext has two layers. The inner one is the default key store's, under material of the KMS key; the outer one
is the external key manager's. Who has one of the two decrypts nothing.

From the ground up:

    failures     what can go wrong with a proxy, and what callers are told: one table
    deadline     the time that one call has
    addresses    where a proxy is connected to, and where not
    connections  HTTP over TLS, within the deadline
    breaker      a proxy that cannot be reached is left alone for a while
    signing      the headers of a request
    messages     what is asked and answered, and the checks of answers
    proxy        one proxy: its four calls
    layers       what the two layers look like in a ciphertext blob, and what binds them
    threads      where calls run, and how many there may be
    store        the key store
"""
