"""Errors of the crypto package; callers convert them to refusals.

No message quotes a key, token, password or plaintext, so all may be logged. Library errors are replaced with
`raise ... from None`, so that a traceback reveals no more than the message.
"""


class CryptoError(Exception):
    """The base class of the crypto package's errors."""


class CannotDecrypt(CryptoError):
    """Wrong key, wrong context or altered bytes. All have the same message, so that the cause is not revealed."""

    message = "cannot decrypt: wrong key, wrong context or altered data"

    def __init__(self) -> None:
        super().__init__(self.message)


class Truncated(CannotDecrypt):
    """The ciphertext has a length that no complete message has. Depends only on the length, never on the content."""

    message = "cannot decrypt: the data ends too early"


class MalformedSecret(CryptoError):
    """A secret, id, token, password or encoding is malformed. The message never contains the value."""

    def __init__(self, what: str = "value") -> None:
        """`what` names the kind of value, as in "password"."""
        super().__init__(f"not a well-formed {what}")


class ProofInvalid(CryptoError):
    """A Merkle proof does not lead from the leaf, or from the old root, to the root."""


class NoteInvalid(CryptoError):
    """A signed note, verifier key or checkpoint is malformed, or not signed by the expected key."""
