"""Parse CREATE TABLE and ALTER TABLE."""

from __future__ import annotations

from dataclasses import replace

from oracle.standin.engine.definition_tree import (
    AddColumns,
    AddConstraint,
    AlterTable,
    ColumnDef,
    ConstraintDef,
    ConstraintRef,
    CreateTable,
    DropColumns,
    DropConstraint,
    ExchangePartition,
    ModifyColumns,
    NoEffect,
    RenameColumn,
    SequenceOptions,
    Supplemental,
    SwitchConstraint,
    SwitchTriggers,
    TableAction,
)
from oracle.standin.engine.reading import unimplemented
from oracle.standin.engine.statements import Statements
from oracle.standin.engine.tokens import Sort
from oracle.standin.engine.tree import Expr

_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK")
_ATTRIBUTE_WORDS = """
    DEFAULT GENERATED AS NOT NULL INVISIBLE VISIBLE REFERENCES DROP
"""
_ATTRIBUTES = frozenset(_ATTRIBUTE_WORDS.split()) | set(_CONSTRAINTS)


class Tables(Statements):
    """Columns, constraints and what can be done to them."""

    def create_table(self, *, temporary: bool) -> CreateTable:
        schema, name = self.qualified()
        if not self.at_sign("("):
            raise unimplemented("CREATE TABLE without columns", self.token.at)
        columns: list[ColumnDef] = []
        constraints: list[ConstraintDef] = []
        self.expect_sign("(")
        while True:
            if self.token.text in _CONSTRAINTS and self.token.sort is Sort.WORD:
                constraints.append(self.constraint())
            else:
                columns.append(self.column(new=True))
            if not self.sign(","):
                break
        self.expect_sign(")")
        self.storage()
        return CreateTable(schema, name, tuple(columns), tuple(constraints), temporary)

    def storage(self) -> None:
        """Go past what says where and how things are stored."""
        while self.token.sort is Sort.WORD:
            if self.accept("TABLESPACE"):
                self.identifier()
            elif self.accept("PCTFREE") or self.accept("INITRANS"):
                self.integer()
            elif self.accept("ON", "COMMIT"):
                self.next()
                self.expect("ROWS")
            elif not self.accept_any("LOGGING", "NOLOGGING", "NOCOMPRESS", "NOPARALLEL", "ONLINE"):
                raise unimplemented(f"{self.token.text} of a table or index", self.token.at)

    def bracketed(self) -> tuple[Expr, str]:
        """A condition or expression in parentheses, and its text."""
        self.expect_sign("(")
        first = self.token.at
        expr = self.expr()
        text = self.sql[first : self.token.at].strip()
        self.expect_sign(")")
        return expr, text

    def column(self, *, new: bool) -> ColumnDef:
        found = ColumnDef(self.identifier())
        if not self._at_attribute():
            found.type = self.data_type()
        elif new and not self.at_words("AS") and not self.at_words("GENERATED"):
            raise self.wrong(2263, "need to specify the datatype for this column")
        while self.token.sort is Sort.WORD and self._at_attribute():
            self._attribute(found)
        return found

    def _at_attribute(self) -> bool:
        if self.token.sort is Sort.WORD:
            return self.token.text in _ATTRIBUTES
        return self.token.sort in (Sort.END, Sort.SIGN)

    def _attribute(self, found: ColumnDef) -> None:
        if self.accept("DEFAULT"):
            found.default_on_null = self.accept("ON", "NULL")
            first = self.token.at
            expr = self.sum()
            found.default = expr, self.sql[first : self.token.at].strip()
        elif self.accept("GENERATED"):
            self._generated(found)
        elif self.accept("AS"):
            found.virtual = self.bracketed()
            self.accept("VIRTUAL")
        elif self.accept("INVISIBLE"):
            found.hidden = True
        elif self.accept("VISIBLE"):
            found.hidden = False
        elif self.accept("DROP", "IDENTITY"):
            found.identity = ""
        elif self.accept("NULL"):
            found.nullable = True
        else:
            self._inline_constraint(found)

    def _generated(self, found: ColumnDef) -> None:
        if self.accept("BY", "DEFAULT"):
            found.default_on_null = self.accept("ON", "NULL")
            found.identity = "BY DEFAULT"
        else:
            self.accept("ALWAYS")
            found.identity = "ALWAYS"
        self.expect("AS")
        if not self.accept("IDENTITY"):
            found.identity = None
            found.virtual = self.bracketed()
            self.accept("VIRTUAL")
            return
        bracket = self.sign("(")
        found.options = self.sequence_options()
        if bracket:
            self.expect_sign(")")

    def _inline_constraint(self, found: ColumnDef) -> None:
        name = self.identifier() if self.accept("CONSTRAINT") else None
        own = (found.name,)
        if self.accept("NOT", "NULL"):
            text = f'"{found.name}" IS NOT NULL'
            made = ConstraintDef(name, "C", own, text, not_null=True)
            found.nullable = False
        elif self.accept("PRIMARY", "KEY"):
            made = ConstraintDef(name, "P", own)
        elif self.accept("UNIQUE"):
            made = ConstraintDef(name, "U", own)
        elif self.accept("CHECK"):
            condition, text = self.bracketed()
            made = ConstraintDef(name, "C", own, text, condition)
        elif self.at_words("REFERENCES"):
            made = self._references(ConstraintDef(name, "R", own))
        else:
            raise unimplemented(f"{self.token.text} of a column", self.token.at)
        found.constraints.append(self._state(made))

    def constraint(self) -> ConstraintDef:
        name = self.identifier() if self.accept("CONSTRAINT") else None
        if self.accept("PRIMARY", "KEY"):
            made = ConstraintDef(name, "P", self.names())
        elif self.accept("UNIQUE"):
            made = ConstraintDef(name, "U", self.names())
        elif self.accept("FOREIGN", "KEY"):
            made = self._references(ConstraintDef(name, "R", self.names()))
        else:
            self.expect("CHECK")
            condition, text = self.bracketed()
            made = ConstraintDef(name, "C", (), text, condition)
        return self._state(made)

    def _references(self, made: ConstraintDef) -> ConstraintDef:
        self.expect("REFERENCES")
        table = self.qualified()
        target = self.names() if self.at_sign("(") else ()
        rule = "NO ACTION"
        if self.accept("ON", "DELETE"):
            rule = "CASCADE" if self.accept("CASCADE") else "SET NULL"
            if rule == "SET NULL":
                self.expect("SET", "NULL")
        return replace(made, table=table, target=target, delete_rule=rule)

    def _state(self, made: ConstraintDef) -> ConstraintDef:
        if self.accept("USING", "INDEX"):
            self.storage_of_key()
        if self.at_words("DEFERRABLE") or self.at_words("INITIALLY"):
            raise unimplemented("deferrable constraints", self.token.at)
        self.accept("NOT", "DEFERRABLE")
        self.accept("RELY")
        enabled = validated = True
        while word := self.accept_any("ENABLE", "DISABLE", "VALIDATE", "NOVALIDATE"):
            if word in ("ENABLE", "DISABLE"):
                enabled = validated = word == "ENABLE"
            else:
                validated = word == "VALIDATE"
        return replace(made, enabled=enabled, validated=validated)

    def storage_of_key(self) -> None:
        if self.at_sign("("):
            raise unimplemented("USING INDEX (...)", self.token.at)
        while self.at_words("TABLESPACE") or self.at_words("PCTFREE"):
            self.next()
            self.next()

    def sequence_options(self) -> SequenceOptions:
        found: SequenceOptions = {}
        while self.token.sort is Sort.WORD:
            if self.accept("START", "WITH"):
                limit = self.accept("LIMIT", "VALUE")
                found["start"] = "limit" if limit else self.integer()
            elif self.accept("INCREMENT", "BY"):
                found["increment"] = self.integer()
            elif word := self.accept_any("MINVALUE", "MAXVALUE", "CACHE"):
                names = {"MINVALUE": "least", "MAXVALUE": "most", "CACHE": "cache"}
                found[names[word]] = self.integer()
            elif word := self.accept_any("NOMINVALUE", "NOMAXVALUE", "NOCACHE"):
                names = {"NOMINVALUE": "least", "NOMAXVALUE": "most", "NOCACHE": "cache"}
                found[names[word]] = 0 if word == "NOCACHE" else "none"
            elif word := self.accept_any("CYCLE", "NOCYCLE", "ORDER", "NOORDER"):
                found[word.removeprefix("NO").lower()] = not word.startswith("NO")
            elif self.accept("RESTART"):
                found["restart"] = True
            elif not self.accept_any("KEEP", "NOKEEP", "NOSCALE"):
                break
        return found

    def alter_table(self) -> AlterTable:
        schema, name = self.qualified()
        actions: list[TableAction] = []
        while self.token.sort is Sort.WORD:
            actions.append(self._action())
            self.sign(",")
        if not actions:
            raise self.wrong(1735, "invalid ALTER TABLE option")
        return AlterTable(schema, name, tuple(actions))

    def _action(self) -> TableAction:
        if self.accept("ADD"):
            return self._add()
        if self.accept("MODIFY"):
            if self.accept("CONSTRAINT"):
                which = ConstraintRef(self.identifier())
                return self._switch(which, self.accept_any("ENABLE", "DISABLE"))
            return ModifyColumns(self._columns(new=False))
        if self.accept("DROP"):
            return self._drop_part()
        if self.accept("RENAME", "COLUMN"):
            before = self.identifier()
            self.expect("TO")
            return RenameColumn(before, self.identifier())
        if self.at_words("ENABLE") or self.at_words("DISABLE"):
            return self._enable()
        if self.accept("EXCHANGE"):
            return self._exchange()
        if self.accept_any("LOGGING", "NOLOGGING", "NOPARALLEL", "MONITORING"):
            return NoEffect()
        raise unimplemented(f"ALTER TABLE ... {self.token.text}", self.token.at)

    def _exchange(self) -> ExchangePartition:
        self.expect("PARTITION")
        self.identifier()
        self.expect("WITH", "TABLE")
        schema, name = self.qualified()
        _ = self.accept("INCLUDING", "INDEXES") or self.accept("EXCLUDING", "INDEXES")
        _ = self.accept("WITH", "VALIDATION") or self.accept("WITHOUT", "VALIDATION")
        return ExchangePartition(schema, name)

    def _add(self) -> TableAction:
        if self.at_words("SUPPLEMENTAL"):
            return self.supplemental(added=True)
        if self.token.text in _CONSTRAINTS and self.token.sort is Sort.WORD:
            return AddConstraint(self.constraint())
        if self.at_sign("(") and self.ahead().text in _CONSTRAINTS:
            self.expect_sign("(")
            made = self.constraint()
            self.expect_sign(")")
            return AddConstraint(made)
        return AddColumns(self._columns(new=True))

    def _columns(self, *, new: bool) -> tuple[ColumnDef, ...]:
        if not self.sign("("):
            return (self.column(new=new),)
        found = [self.column(new=new)]
        while self.sign(","):
            found.append(self.column(new=new))
        self.expect_sign(")")
        return tuple(found)

    def supplemental(self, *, added: bool) -> Supplemental:
        """ADD or DROP SUPPLEMENTAL LOG DATA [(ALL) COLUMNS]; that of the database without columns is MIN."""
        self.expect("SUPPLEMENTAL", "LOG")
        if self.accept("GROUP"):
            name = self.identifier()
            if self.at_sign("("):
                self.names()
            self.accept("ALWAYS")
            return Supplemental("USER LOG GROUP", added, name)
        self.expect("DATA")
        if not self.sign("("):
            return Supplemental("MINIMAL", added)
        words = [self.identifier()]
        while not self.at_sign(")") and not self.at_sign(","):
            words.append(self.identifier())
        if self.at_sign(","):
            raise unimplemented("several kinds of columns in one SUPPLEMENTAL LOG", self.token.at)
        self.expect_sign(")")
        self.expect("COLUMNS")
        groups = {"ALL": "ALL COLUMN", "UNIQUE": "UNIQUE KEY"}
        what = " ".join(words)
        return Supplemental(f"{groups.get(what, what)} LOGGING", added)

    def _drop_part(self) -> TableAction:
        if self.at_words("SUPPLEMENTAL"):
            return self.supplemental(added=False)
        if self.accept("COLUMN"):
            return DropColumns((self.identifier(),))
        if self.at_sign("("):
            return DropColumns(self.names())
        which = self._constraint_ref()
        cascade = self.accept("CASCADE")
        _ = self.accept("DROP", "INDEX") or self.accept("KEEP", "INDEX")
        return DropConstraint(which, cascade)

    def _constraint_ref(self) -> ConstraintRef:
        if self.accept("PRIMARY", "KEY"):
            return ConstraintRef(None)
        if self.accept("UNIQUE"):
            return ConstraintRef(None, self.names())
        self.expect("CONSTRAINT")
        return ConstraintRef(self.identifier())

    def _enable(self) -> TableAction:
        word = self.next().text
        if self.accept("ALL", "TRIGGERS"):
            return SwitchTriggers(word == "ENABLE")
        if self.accept("ROW", "MOVEMENT"):
            return NoEffect()
        return self._switch(None, word)

    def _switch(self, which: ConstraintRef | None, word: str | None) -> TableAction:
        validated = word == "ENABLE"
        said = self.accept_any("VALIDATE", "NOVALIDATE")
        if said is not None:
            validated = said == "VALIDATE"
        if which is None:
            which = self._constraint_ref()
        if word is None and said is None:
            raise unimplemented(f"MODIFY CONSTRAINT {self.token.text}", self.token.at)
        enabled = None if word is None else word == "ENABLE"
        return SwitchConstraint(which, enabled, validated, self.accept("CASCADE"))
