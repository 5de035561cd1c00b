"""The HSM key store: key material is made, wrapped and used inside a hardware security module (PKCS #11 2.40).

From the ground up:

    pkcs11             names, numbers and structures of the standard
    functions          the function table of a library
    failures           its return codes, as a few kinds of errors
    blame              whether what was given is to blame for a call that failed, or the token
    arguments          what its calls are given
    session            its calls
    gate               its calls counted: who initializes it anew has it alone
    module             the library in this process
    pin                the PIN of a token
    token              one token: login, sessions, and what happens when it goes away
    threads            the threads that calls run on, and what happens when a call does not return
    templates          what key material is allowed to do inside the token
    mechanisms         how each algorithm of KMS is asked of a token
    software_wrapping  secrets of this process, wrapped as a token wraps keys
    capabilities       what a token can do, and what that means for keys; weaker ways, and what is lost with them
    proofs             the probe: known answers
    domain_keys        the keys that live in the token: made, found, and checked
    wrapping           the form in which things are stored that the token wraps or encrypts
    making             keys that are made in the token
    recovery           the recovery key: what is wrapped for its holder
    equivalence        HMAC keys of a length that the token does not wrap as it is
    materials          key material between the token and the database
    unwrapping         key material that was wrapped under an import key, on its way into the token
    examining          whether it is of its key spec, and which it is
    importing          import keys, and material taken over
    opened             key material that is open in the token
    keys               what opened key material does
    objects            keys that were in the token before, used as they are
    opening            the library loaded, the token open, its abilities proven, its domain keys found
    root               what stands for the root key
    store              the key store
"""
