"""The cryptography of a file's life: encryption, shares, claims, decryption, and the proofs of the log.

These modules know nothing of requests, rows or files, and import only the rules of `app/domain/`. They use published
constructions only, through the `cryptography` and `argon2` packages. In the order in which a file needs them:

- `encoding` and `token`: encoding, generating and comparing random values and digests
- `labels`: the labels that bind each key and ciphertext to its use
- `chunked`: encrypts and decrypts files (C2SP chunked encryption)
- `password`: generates and normalises passwords
- `stretching`: Argon2id over the password, on the server only
- `wrapping`: key derivation and wrapping for depositor, share, claim and key vault
- `canonical_json`, `merkle`, `signed_note`, `tlog_proof` and `consistency_proof`: the audit log's entries, tree,
  checkpoints, receipts and proofs of growth
- `proof_text`: reads those texts as people hand them over
- `log_check` and `log_verifier`: verification of the log
- `tree_edge`: computes the next root from the last one and new entries
- `proven_tree`: proves many entries against one root
- `session_secret`: what is derived from the secrets of a signed-in browser's cookies
- `errors`: the errors of all these modules
"""
