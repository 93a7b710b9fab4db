"""Parse DDL: sequences, indexes, triggers, users and the statements on whole objects; tables are in tables.py."""

from __future__ import annotations

from oracle.standin.backend import OraError
from oracle.standin.engine.definition_tree import (
    AlterDatabase,
    AlterUser,
    CreateIndex,
    CreateTrigger,
    CreateUser,
    Definition,
    Drop,
    Grant,
    MakeSequence,
    NoEffect,
    Noted,
    SwitchTrigger,
    Truncate,
)
from oracle.standin.engine.reading import unimplemented
from oracle.standin.engine.tables import Tables
from oracle.standin.engine.tokens import Sort


class Definitions(Tables):
    """One DDL statement."""

    def definition(self) -> Definition:
        word = self.next().text
        match word:
            case "CREATE":
                found = self._create()
            case "ALTER":
                found = self._alter()
            case "DROP":
                found = self._drop()
            case "TRUNCATE":
                found = self._truncate()
            case "GRANT" | "REVOKE":
                found = self._grant(given=word == "GRANT")
            case "COMMENT" | "ANALYZE" | "AUDIT" | "NOAUDIT":
                found = self._noted()
            case _:
                raise unimplemented(f"the statement {word}", 0)
        if not isinstance(found, CreateTrigger):
            self.end()
        return found

    def _create(self) -> Definition:
        replace = self.accept("OR", "REPLACE")
        if self.accept("EDITIONABLE") or self.accept("NONEDITIONABLE"):
            pass
        temporary = self.accept("GLOBAL", "TEMPORARY")
        if self.accept("TABLE"):
            return self.create_table(temporary=temporary)
        if self.accept("UNIQUE", "INDEX"):
            return self._index(unique=True)
        if self.accept("INDEX"):
            return self._index(unique=False)
        if self.accept("SEQUENCE"):
            schema, name = self.qualified()
            return MakeSequence(schema, name, self.sequence_options(), created=True)
        if self.accept("TRIGGER"):
            return self._trigger(replace=replace)
        if self.accept("USER") or self.accept("ROLE"):
            name = self.identifier()
            password = self._password()
            self._skip()
            return CreateUser(name, password)
        if self.accept("TABLESPACE") or self.accept("PROFILE"):
            return self._noted()
        raise unimplemented(f"CREATE {self.token.text}", self.token.at)

    def _alter(self) -> Definition:
        if self.accept("TABLE"):
            return self.alter_table()
        if self.accept("SEQUENCE"):
            schema, name = self.qualified()
            return MakeSequence(schema, name, self.sequence_options(), created=False)
        if self.accept("TRIGGER"):
            schema, name = self.qualified()
            if self.accept("COMPILE"):
                return Noted()
            return SwitchTrigger(schema, name, self._enabling())
        if self.accept("DATABASE"):
            return self._database()
        if self.accept("USER"):
            return self._alter_user()
        if self.accept("INDEX") or self.accept("PROFILE"):
            return self._noted()
        raise unimplemented(f"ALTER {self.token.text}", self.token.at)

    def _alter_user(self) -> Definition:
        name = self.identifier()
        password = self._password()
        locked: bool | None = None
        if self.accept("ACCOUNT"):
            locked = self.accept_any("LOCK", "UNLOCK") == "LOCK"
        self._skip()
        return AlterUser(name, password, locked)

    def _password(self) -> str | None:
        if not self.accept("IDENTIFIED", "BY"):
            return None
        if self.token.sort is not Sort.QUOTED:
            raise unimplemented("a password without quotes", self.token.at)
        return self.next().text

    def _database(self) -> Definition:
        if self.at_words("ADD") or self.at_words("DROP"):
            return AlterDatabase(self.supplemental(added=self.next().text == "ADD"))
        if self.accept("FORCE", "LOGGING") or self.accept("NO", "FORCE", "LOGGING"):
            return AlterDatabase(NoEffect())
        raise unimplemented(f"ALTER DATABASE {self.token.text}", self.token.at)

    def _enabling(self) -> bool:
        word = self.accept_any("ENABLE", "DISABLE")
        if word is None:
            raise unimplemented(f"{self.token.text} here", self.token.at)
        return word == "ENABLE"

    def _index(self, *, unique: bool) -> Definition:
        schema, name = self.qualified()
        self.expect("ON")
        table = self.qualified()
        self.expect_sign("(")
        columns = [self._index_column()]
        while self.sign(","):
            columns.append(self._index_column())
        self.expect_sign(")")
        self.storage()
        return CreateIndex(schema, name, table, tuple(columns), unique)

    def _index_column(self) -> str:
        name = self.identifier()
        if self.at_sign("("):
            raise unimplemented("function-based indexes", self.token.at)
        self.accept_any("ASC", "DESC")
        return name

    def _trigger(self, *, replace: bool) -> CreateTrigger:
        schema, name = self.qualified()
        when = self.accept_any("BEFORE", "AFTER")
        if when is None:
            raise unimplemented(f"{self.token.text} triggers", self.token.at)
        events = [self._event()]
        while self.accept("OR"):
            events.append(self._event())
        self.expect("ON")
        table = self.qualified()
        if self.at_words("REFERENCING"):
            raise unimplemented("REFERENCING", self.token.at)
        each_row = self.accept("FOR", "EACH", "ROW")
        enabled = not self.accept("DISABLE")
        self.accept("ENABLE")
        condition = None
        if self.accept("WHEN"):
            condition = self.bracketed()
        if not (self.at_words("DECLARE") or self.at_words("BEGIN")):
            raise unimplemented(f"a trigger with {self.token.text}", self.token.at)
        text = self.sql[self.token.at :]
        return CreateTrigger(
            schema, name, replace, when, tuple(events), table, each_row, enabled, condition, text
        )

    def _event(self) -> str:
        word = self.accept_any("INSERT", "UPDATE", "DELETE")
        if word is None or self.at_words("OF"):
            raise unimplemented(f"triggers on {self.token.text}", self.token.at)
        return word

    def _drop(self) -> Definition:
        kind = self.identifier()
        if kind not in ("TABLE", "INDEX", "SEQUENCE", "TRIGGER", "USER"):
            raise unimplemented(f"DROP {kind}", self.token.at)
        schema, name = self.qualified()
        cascade = self.accept("CASCADE", "CONSTRAINTS") or self.accept("CASCADE")
        self.accept("PURGE")
        return Drop(kind, schema, name, cascade)

    def _truncate(self) -> Definition:
        self.expect("TABLE")
        schema, name = self.qualified()
        _ = self.accept("DROP", "STORAGE") or self.accept("REUSE", "STORAGE")
        return Truncate(schema, name, self.accept("CASCADE"))

    def _grant(self, *, given: bool) -> Definition:
        privileges = [self._privilege()]
        while self.sign(","):
            privileges.append(self._privilege())
        table = self.qualified() if self.accept("ON") else None
        self.expect("TO" if given else "FROM")
        users = [self.identifier()]
        while self.sign(","):
            users.append(self.identifier())
        self._skip()
        return Grant(given, tuple(privileges), table, tuple(users))

    def _privilege(self) -> str:
        words: list[str] = []
        while self.token.sort is Sort.WORD and self.token.text not in ("ON", "TO", "FROM"):
            words.append(self.next().text)
        if not words:
            raise OraError(990, "missing or invalid privilege", self.token.at)
        return " ".join(words)

    def _noted(self) -> Definition:
        self._skip()
        return Noted()

    def _skip(self) -> None:
        while self.token.sort is not Sort.END:
            self.next()
