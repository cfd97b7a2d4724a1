"""The cryptography of the life of a file: encrypt, share, claim, decrypt, and the proofs of the log.

Lowest layer: nothing here knows of requests, rows or files. Only published constructions, called through the
`cryptography` and `argon2` packages. In the order in which a file meets them:

- `encoding` and `token`: how random values and digests are written, made and compared
- `chunked`: encrypts and decrypts files (C2SP chunked encryption)
- `password`: what a recipient types
- `stretching`: Argon2id over the password, on the server only
- `wrapping`: which keys open which, for depositor, share, claim and key vault
- `merkle` and `signed_note`: what makes the audit log impossible to rewrite
- `errors`: everything the above refuse with
"""
