"""Checking a password that is never sent: Oracle's 12c verifier, which proves the server to the client as well.

Both sides encrypt 32 random bytes under a hash of the password; what they made together is the key that the password
then travels under.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BLOCK = 16
_SPEEDY_KEY = b"AUTH_PBKDF2_SPEEDY_KEY"
_SERVER_PROOF = b"SERVER_TO_CLIENT"


class Verifier:
    """One attempt to log on."""

    #: The number of this kind of verifier.
    KIND = 0x4815

    #: Rounds of PBKDF2, for the password's hash and for the common key: what a real server uses.
    HASH_ROUNDS = 4096
    KEY_ROUNDS = 3

    def __init__(self, password: str | None) -> None:
        """None: there is nobody of that name, which the client must not find out before the end."""
        self._password = password
        known = (password if password is not None else secrets.token_hex()).encode()
        self.salt = secrets.token_bytes(16)
        self.key_salt = secrets.token_bytes(16)
        self._ours = secrets.token_bytes(32)
        stretched = _stretched(known, self.salt + _SPEEDY_KEY, self.HASH_ROUNDS, 64)
        self._hash = hashlib.sha512(stretched + self.salt).digest()[:32]
        self._common: bytes | None = None

    def challenge(self) -> bytes:
        """Our half of the common key, encrypted."""
        return _encrypted(self._hash, self._ours)

    def accepts(self, session_key: bytes, encrypted_password: bytes) -> bool:
        """Take the client's half of the key and its password, and tell whether it is the right one."""
        try:
            theirs = _decrypted(self._hash, session_key)[:32]
            both = (theirs + self._ours).hex().upper().encode()
            self._common = _stretched(both, self.key_salt, self.KEY_ROUNDS, 32)
            padded = _decrypted(self._common, encrypted_password)
        except ValueError:  # not whole blocks
            return False
        password = padded[_BLOCK : len(padded) - padded[-1]]
        return self._password is not None and secrets.compare_digest(
            password, self._password.encode()
        )

    def proof(self) -> bytes:
        """Show the client that we know the password too, once we accepted it."""
        assert self._common is not None
        return _encrypted(self._common, secrets.token_bytes(_BLOCK) + _SERVER_PROOF)


def _stretched(secret: bytes, salt: bytes, rounds: int, size: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", secret, salt, rounds, size)


def _cipher(key: bytes) -> Cipher[modes.CBC]:
    # The zero vector is the protocol's; the first block of what is secret is random for that reason.
    return Cipher(algorithms.AES(key), modes.CBC(bytes(_BLOCK)))


def _encrypted(key: bytes, data: bytes) -> bytes:
    encryptor = _cipher(key).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def _decrypted(key: bytes, data: bytes) -> bytes:
    decryptor = _cipher(key).decryptor()
    return decryptor.update(data) + decryptor.finalize()
