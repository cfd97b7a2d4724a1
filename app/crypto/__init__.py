"""The cryptography of the life of a file: encrypt, share, claim, decrypt, and the proofs of the log.

Nothing here knows of requests, rows or files; below it are the rules of `app/domain/` alone. Only published
constructions, called through the `cryptography` and `argon2` packages. In the order in which a file meets them:

- `encoding` and `token`: how random values and digests are written, made and compared
- `labels`: what binds each key and ciphertext to its use
- `chunked`: encrypts and decrypts files (C2SP chunked encryption)
- `password`: what a recipient types
- `stretching`: Argon2id over the password, on the server only
- `wrapping`: which keys open which, for depositor, share, claim and key vault
- `canonical_json`, `merkle`, `signed_note` and `tlog_proof`: the audit log's entries, tree, checkpoints and receipts
- `log_check` and `log_verifier`: the check that finds what was changed in a log
- `proven_tree`: many entries proved against one root
- `errors`: everything the above refuse with
"""
