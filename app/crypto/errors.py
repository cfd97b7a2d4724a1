"""What the crypto package refuses with; callers above turn these into answers for people and programs.

No message ever quotes a key, token, password or plaintext, so all of them may be logged. All are raised `from None`
where a library error lies behind them, so that a traceback tells no more than the message does.
"""


class CryptoError(Exception):
    """Anything that the crypto package refuses."""


class CannotDecrypt(CryptoError):
    """Wrong key, wrong context or altered bytes: one and the same message, since nobody may learn which."""

    message = "cannot decrypt: wrong key, wrong context or altered data"

    def __init__(self) -> None:
        super().__init__(self.message)


class Truncated(CannotDecrypt):
    """The ciphertext is shorter than any message of its form; only ever said about lengths, never about content."""

    message = "cannot decrypt: the data ends too early"


class MalformedSecret(CryptoError):
    """A secret, id, token, password or encoding that is not well-formed. It never contains the value."""

    def __init__(self, what: str = "value") -> None:
        """`what` names the kind of value, as in "password"."""
        super().__init__(f"not a well-formed {what}")


class ProofInvalid(CryptoError):
    """A Merkle proof that does not lead from the leaf or the old root to the root."""


class NoteInvalid(CryptoError):
    """A signed note, verifier key or checkpoint that is malformed, or not signed by the expected key."""
