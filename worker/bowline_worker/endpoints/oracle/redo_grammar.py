"""The grammar of SQL_REDO: from a statement to its shape, which tells what each column gets of which literal.

Strict: an unknown function, a missing operand, another number of values than of columns, text behind the end: each is
an error. Blanks may stand between tokens as they like. Quotes are found and slices taken; no expression is matched
against a value, which may hold anything.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import partial
from typing import NamedTuple, NoReturn

from bowline_worker.endpoints.oracle.redo_quotes import (
    BLANKS,
    IsBehind,
    gap,
    is_behind_listed,
    is_behind_paired,
    is_end,
    relaxed_text,
    strict_text,
)
from bowline_worker.endpoints.oracle.redo_shape import (
    NOTHING,
    Form,
    Operation,
    Part,
    Shape,
    constant,
    part,
)
from bowline_worker.endpoints.oracle.redo_values import (
    FUNCTIONS,
    JSON,
    MARKS,
    NUMBER,
    WORDS,
    Mark,
    RedoError,
    RedoValue,
    joined,
    to_text,
)

#: What mostly follows a value, and saves looking for ||.
_NO_JOIN = (",", ")", " and ", " where ")
_IN_NUMBER = (*NUMBER, "e", "E")
#: More than a schema has tables. When there are more, all are dropped and the next ones read once again.
HEADS_KEPT = 1024
_NULL, _BIND = constant(None), constant(Mark.BIND)
_WORDS = tuple((word, constant(value)) for word, value in WORDS)
_MARKS = tuple((word, constant(value)) for word, value in MARKS)


class _InsertHead(NamedTuple):
    owner: str
    table: str
    columns: tuple[str, ...]


#: By their whole text: a statement that begins with it is read alike up to its end.
_insert_heads: dict[str, _InsertHead] = {}


class Reader:
    """Reads one statement from left to right. Each of its methods reads what its name says, from where it stands."""

    def __init__(self, sql: str, *, relaxed_quotes: bool = False) -> None:
        self.literals: list[str] = []
        self.starts: list[int] = []  #: where in the statement their opening quotes are
        self._ends: list[int] = []
        self._sql = sql
        self._at = 0
        self._relaxed_quotes = relaxed_quotes

    def shape(self) -> Shape:
        if self._has("insert into "):
            shape = self._insert()
        elif self._has("update "):
            shape = self._update()
        elif self._has("delete from "):
            shape = self._delete()
        else:
            raise RedoError(f"expected insert, update or delete, found {_kind_of(self._sql)}", 0)
        if not is_end(self._sql, self._at):
            self._expected("the statement to go on or to end")
        return shape

    def outside(self) -> tuple[str, ...]:
        """What is not literals of the statement that was read."""
        ends, starts = (0, *self._ends), (*self.starts, len(self._sql))
        return tuple(self._sql[end:start] for end, start in zip(ends, starts, strict=True))

    def _insert(self) -> Shape:
        owner, table, names = self._insert_head()
        self._word(" values ")
        self._symbol("(")
        forms: list[Form] = []
        while not forms or self._has(","):
            forms.append(self._expression(is_behind_listed))
        if len(forms) != len(names) and self._sql.startswith(")", gap(self._sql, self._at)):
            self._expected(f"{len(names)} values, found {len(forms)}")
        self._symbol(")", "a comma or )")
        row = part(dict(zip(names, forms, strict=True)))
        return Shape(Operation.INSERT, owner, table, row, NOTHING, None)

    def _insert_head(self) -> _InsertHead:
        """The table and its columns, which all inserts of a table have in common."""
        text = self._sql[: self._sql.find(" values (")]
        head = _insert_heads.get(text)
        if head is not None:
            self._at = len(text)
            return head
        owner, table = self._table()
        self._symbol("(")
        names: list[str] = []
        while not names or self._has(","):
            names.append(self._name("a column", names))
        self._symbol(")", "a comma or )")
        if len(_insert_heads) >= HEADS_KEPT:
            _insert_heads.clear()
        _insert_heads[self._sql[: self._at]] = head = _InsertHead(owner, table, tuple(names))
        return head

    def _update(self) -> Shape:
        owner, table = self._table()
        self._alias()
        self._word(" set ")
        new: dict[str, Form] = {}
        while not new or self._has(","):
            name = self._column(new)
            self._symbol("=")
            new[name] = self._expression(is_behind_paired)
        where, rowid = self._where()
        return Shape(Operation.UPDATE, owner, table, part(new), where, rowid)

    def _delete(self) -> Shape:
        owner, table = self._table()
        self._alias()
        where, rowid = self._where()
        return Shape(Operation.DELETE, owner, table, NOTHING, where, rowid)

    def _where(self) -> tuple[Part, int | None]:
        known: dict[str, Form] = {}
        rowid: int | None = None
        joint = " where "
        while self._has_word(joint):
            joint = " and "
            if rowid is None and self._sql.startswith("ROWID", self._at):
                self._at += len("ROWID")
                self._symbol("=")
                rowid = len(self.literals)
                self._literal()
            else:
                name = self._column(known)
                known[name] = self._predicate()
        return part(known), rowid

    def _predicate(self) -> Form:
        if self._sql.startswith(" = ", self._at):
            self._at += len(" = ")
        elif self._has("IS NULL"):
            return _NULL
        else:
            self._symbol("=", "= or IS NULL")
        return self._expression(is_behind_paired)

    def _table(self) -> tuple[str, str]:
        owner = self._name("the table's owner")
        self._symbol(".")
        return owner, self._name("the table's name")

    def _alias(self) -> None:
        self._has_word(" a ")  # LogMiner knows but this one

    def _column(self, known: Container[str]) -> str:
        if not self._sql.startswith('"', self._at):
            self._has("a.")
        return self._name("a column", known)

    def _name(self, what: str, known: Container[str] = ()) -> str:
        """An identifier in quotes: any characters but the double quote."""
        start = self._at if self._sql.startswith('"', self._at) else gap(self._sql, self._at)
        end = self._sql.find('"', start + 1)
        if not self._sql.startswith('"', start) or end <= start + 1:
            self._expected(f"{what} in double quotes")
        name = self._sql[start + 1 : end]
        if name in known:
            self._expected(f"column {name} once")
        self._at = end + 1
        return name

    def _expression(self, is_behind: IsBehind) -> Form:
        """One value, or pieces of a text that are joined by ||."""
        form = self._operand(is_behind)
        if self._sql.startswith(_NO_JOIN, self._at) or not self._has("||"):
            return form
        pieces = [form, self._operand(is_behind)]
        while self._has("||"):
            pieces.append(self._operand(is_behind))
        if not all(piece.first >= 0 and piece.function in (None, to_text) for piece in pieces):
            self._expected("text on both sides of ||")
        escaped = tuple(piece.function is to_text for piece in pieces)
        return Form(form.first, pieces[-1].end, partial(joined, escaped))

    def _operand(self, is_behind: IsBehind) -> Form:
        sql = self._sql
        at = self._at = gap(sql, self._at)
        if sql.startswith("'", at):
            self._literal(is_behind if self._relaxed_quotes else None)
            return Form(len(self.literals) - 1, len(self.literals))
        for word, form in _WORDS:
            if sql.startswith(word, at):
                self._at += len(word)
                return form
        if sql.startswith(NUMBER, at):
            return self._number()
        self._has(JSON)
        return self._function()

    def _number(self) -> Form:
        end = self._at
        while self._sql.startswith(_IN_NUMBER, end):
            end += 1
        text = self._sql[self._at : end]
        try:
            float(text)
        except ValueError:
            self._expected("a number")
        self._at = end
        return Form(0, 0, lambda: text)

    def _function(self) -> Form:
        bracket = self._sql.find("(", self._at)
        known = FUNCTIONS.get(self._sql[self._at : bracket]) if bracket > 0 else None
        if known is not None:
            self._at = bracket + 1
            form = self._literals(*known)
            self._symbol(")")
            return form
        for word, form in _MARKS:
            if self._has(word):
                return form
        if self._has("XMLType("):
            self._bind()
            self._symbol(")")
            return _BIND
        if self._sql.startswith(":", self._at):
            self._bind()
            return _BIND
        return self._expected("a value")

    def _bind(self) -> None:
        """A variable that other rows give a value: `:1`, `:D`."""
        self._symbol(":", "a bind variable")
        start = self._at
        while self._sql[self._at : self._at + 1].isalnum():
            self._at += 1
        if self._at == start:
            self._expected("the name of a bind variable")

    def _literals(self, count: int, function: Callable[..., RedoValue]) -> Form:
        """A function's operands."""
        first = len(self.literals)
        for number in range(count):
            if number:
                self._symbol(",")
            self._literal()
        return Form(first, first + count, function)

    def _literal(self, is_behind: IsBehind | None = None) -> None:
        sql, start = self._sql, gap(self._sql, self._at)
        if not sql.startswith("'", start):
            self._expected("a literal")
        text, end = relaxed_text(sql, start, is_behind) if is_behind else strict_text(sql, start)
        if not end:
            self._expected("a quote that ends the literal")
        self.literals.append(text)
        self.starts.append(start)
        self._ends.append(end)
        self._at = end

    def _has(self, text: str) -> bool:
        """Pass over this text, if it comes next."""
        start = self._at
        if not self._sql.startswith(text, start):
            if not self._sql.startswith(BLANKS, start):
                return False
            start = gap(self._sql, start)
            if not self._sql.startswith(text, start):
                return False
        self._at = start + len(text)
        return True

    def _has_word(self, word: str) -> bool:
        """Pass over this word, which is given with the blanks around it, if it comes next."""
        sql, at = self._sql, self._at
        if not sql.startswith(word, at):
            word = word.strip()
            at = gap(sql, at)
            if not sql.startswith(word, at) or not sql.startswith(BLANKS, at - 1):
                return False
            if sql[at + len(word) : at + len(word) + 1].isalnum():
                return False
        self._at = gap(sql, at + len(word))
        return True

    def _word(self, word: str) -> None:
        if not self._has_word(word):
            self._expected(word.strip())

    def _symbol(self, symbol: str, what: str = "") -> None:
        if not self._has(symbol):
            self._expected(what or symbol)

    def _expected(self, what: str) -> NoReturn:
        at = gap(self._sql, self._at)
        raise RedoError(f"expected {what}{' before the end' if at == len(self._sql) else ''}", at)


#: How statements begin that are not about the columns of one row, in lower case.
_OTHERS = (
    ("xml doc begin:", "the beginning of an XML document"),
    ("xml_redo :=", "a piece of an XML document"),
    ("/* no sql_redo", "a change of a temporary table"),
    ("unsupported", "a row that LogMiner could not decode"),
    ("select ", "a SELECT"),
    *((f"{verb} ", "DDL") for verb in ("alter", "create", "drop", "truncate", "rename", "comment")),
    *((f"{verb} ", "DDL") for verb in ("analyze", "flashback", "grant", "purge", "revoke")),
)


def _kind_of(sql: str) -> str:
    """Name what LogMiner prints beside DML, for who did not look at the row's operation code first."""
    start = sql.lstrip().lower()
    for beginning, kind in _OTHERS:
        if start.startswith(beginning):
            return kind
    if "stmt := '" in start:
        return "the beginning of a long string (PL/SQL)"
    if "dbms_lob." in start:
        return "a piece of a LOB (PL/SQL)"
    return "something else" if start else "nothing"
