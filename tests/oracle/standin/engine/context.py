"""SYS_CONTEXT('USERENV', ...)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.standin.backend import OraError

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session


def value(session: Session, namespace: str, name: str) -> str | None:
    """A session's attribute by its name. ORA-02003 for one that is not known."""
    if namespace.upper() != "USERENV":
        return None
    database = session.database
    found: dict[str, str | None] = {
        "SESSION_USER": session.user,
        "CURRENT_USER": session.definer or session.user,
        "CURRENT_SCHEMA": session.schema,
        "AUTHENTICATED_IDENTITY": session.user,
        "CLIENT_IDENTIFIER": session.attributes.get("client_identifier"),
        "CLIENT_INFO": session.attributes.get("client_info"),
        "MODULE": session.attributes.get("module"),
        "ACTION": session.attributes.get("action"),
        "OS_USER": session.attributes.get("os_user"),
        "HOST": session.attributes.get("machine"),
        "DB_NAME": database.name,
        "DB_UNIQUE_NAME": database.name,
        "DATABASE_ROLE": "PRIMARY",
        "CON_NAME": session.catalog.container,
        "CON_ID": str(session.catalog.con_id),
        "CDB_NAME": database.name if database.is_cdb else None,
        "SERVICE_NAME": session.service,
        "INSTANCE": str(session.thread),
        "INSTANCE_NAME": f"{database.name}{session.thread}",
        "SID": str(session.sid),
        "SESSIONID": str(session.serial),
        "ISDBA": "FALSE",
        "LANGUAGE": f"AMERICAN_AMERICA.{database.charsets[0]}",
        "SESSIONTIMEZONE": _zone(session.nls.offset),
        "DBTIMEZONE": "+00:00",
    }
    if name.upper() not in found:
        raise OraError(2003, "invalid USERENV parameter")
    return found[name.upper()]


def _zone(offset: int) -> str:
    return f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
