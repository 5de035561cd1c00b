"""Typed requests and responses of the services, and the two places where they are bytes.

`kms/` is generated from botocore's service model by `tools/generate_messages.py`: one file per family of operations.
`declaration` is what generated messages are made of, `schema` what is compiled from them, `codec` (JSON) and `query`
(forms and XML) what others call.
"""
