"""What a server tells each of its sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from oracle.standin.backend import Account
from oracle.standin.wire.faults import Faults

#: Text and RAWs that are longer are LONGs in SQL, by MAX_STRING_SIZE.
STANDARD_STRING_BYTES = 4000
EXTENDED_STRING_BYTES = 32767


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server presents itself, and to whom."""

    accounts: Sequence[Account]
    find: Callable[[str, str], Account | None] = lambda user, service: None  #: those made by SQL
    field_version: int = 12  #: of the protocol's fields; 12 is 19c's
    max_string: int = STANDARD_STRING_BYTES  #: bytes of a VARCHAR2 or RAW
    release: tuple[int, int, int, int, int] = (19, 3, 0, 0, 0)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        if self.max_string not in (STANDARD_STRING_BYTES, EXTENDED_STRING_BYTES):
            # The client is told one bit, and both sides must count alike.
            raise ValueError(f"max_string is {self.max_string}: Oracle knows 4000 and 32767")

    def service(self, name: str) -> str | None:
        """Give the name under which a service or SID is known, or None."""
        names = (known for account in self.accounts for known in account.services)
        return next((known for known in names if known.upper() == name.upper()), None)

    def account(self, user: str, service: str) -> Account | None:
        """Find who may log on to a service; as in SQL, only a quoted name has small letters."""
        wanted = _folded(user)
        for account in self.accounts:
            if _folded(account.user) == wanted and service in account.services:
                return account
        return self.find(wanted, service)


def _folded(user: str) -> str:
    return user[1:-1] if user.startswith('"') and user.endswith('"') else user.upper()
