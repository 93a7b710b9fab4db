"""Fire a table's triggers, once per statement."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from oracle.standin.backend import OraError
from oracle.standin.engine.datatypes import NUMBER
from oracle.standin.engine.evaluation import Env
from oracle.standin.engine.machine import Machine
from oracle.standin.engine.plsql_tree import Block
from oracle.standin.engine.preparing import Preparer
from oracle.standin.engine.storage import Table

if TYPE_CHECKING:
    from oracle.standin.engine.catalog import Trigger
    from oracle.standin.engine.session import Session

_EVENTS = {"INSERT": "INSERTING", "UPDATE": "UPDATING", "DELETE": "DELETING"}


def fire(session: Session, table: Table, when: str, events: Sequence[str]) -> None:
    """Run the enabled triggers of these events. What one raises is the statement's error."""
    for trigger in table.triggers:
        if trigger.enabled and trigger.when == when:
            hit = [event for event in events if event in trigger.events]
            if hit:
                _run(session, trigger, hit)


def _run(session: Session, trigger: Trigger, events: Sequence[str]) -> None:
    variables = dict.fromkeys(_EVENTS.values(), NUMBER)
    env = Env(session, ())
    env.variables = {
        name: Decimal(1) if event in events else Decimal(0) for event, name in _EVENTS.items()
    }
    # A trigger's names and rights are those of its owner.
    around = session.schema, session.definer
    session.schema = session.definer = trigger.owner
    try:
        preparer = Preparer(session, variables=variables)
        body = trigger.body
        assert isinstance(body, Block)
        Machine(session, preparer, env, variables).run(body)
    except OraError as error:
        message = (
            f'{error.message}\nORA-06512: at "{trigger.owner}.{trigger.name}", line 1\n'
            f"ORA-04088: error during execution of trigger '{trigger.owner}.{trigger.name}'"
        )
        raise OraError(error.code, message) from error
    finally:
        session.schema, session.definer = around
