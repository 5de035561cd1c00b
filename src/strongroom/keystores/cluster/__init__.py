"""The custom key store in an HSM cluster: key material is made, kept and used in the customer's token (PKCS #11 2.40).

Nothing is wrapped: the keys are objects that stay in the token and cannot be taken out of it. From the ground up:

    objects     key material as objects of the token
    opening     the token of a cluster open, its abilities proven; what connecting says if that fails
    store       the key store
"""
