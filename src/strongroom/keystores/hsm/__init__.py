"""The HSM key store: key material is made, wrapped and used inside a hardware security module (PKCS #11 2.40).

pkcs11         names, numbers and structures of the standard
module         a PKCS #11 library in this process: its function table, its calls, its errors
token          one token: login, sessions, and what happens when it goes away
threads        the threads that calls run on, and what happens when a call does not return
capabilities   what a token can do, proven by known answers; what falls back, and with what loss
domain_keys    the keys that live in the token: made, found, and checked
templates      what key material is allowed to do inside the token
wrapping       key material as it is stored
opened         key material that is open in the token
keys           what opened key material does
store          the key store
recovery       moving all material to another token, with the recovery key
"""
