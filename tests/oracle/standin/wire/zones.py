"""The time zone of a session, as far as the wire needs it: a fixed distance from UTC."""

from __future__ import annotations

import re

_SETTING = re.compile(r"\s*ALTER\s+SESSION\b.*\bTIME_ZONE\s*=\s*'([^']*)'", re.I | re.S)
_OFFSET = re.compile(r"([+-]?)(\d{1,2}):(\d{2})")


def zone_set_by(sql: str) -> str | None:
    """Give the zone that an ALTER SESSION sets, if it does."""
    found = _SETTING.match(sql)
    return found[1] if found else None


def zone_minutes(zone: str) -> int | None:
    """Tell how far east of UTC a zone is; None of a region, whose distance changes."""
    found = _OFFSET.fullmatch(zone.strip())
    if found is None:
        return 0 if zone.strip().upper() == "UTC" else None
    minutes = int(found[2]) * 60 + int(found[3])
    return -minutes if found[1] == "-" else minutes
