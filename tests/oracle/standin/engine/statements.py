"""Parse queries and DML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from oracle.standin.backend import OraError
from oracle.standin.engine.expressions import Expressions
from oracle.standin.engine.reading import unimplemented
from oracle.standin.engine.tokens import Sort
from oracle.standin.engine.tree import (
    BindRef,
    Block,
    Body,
    Compound,
    Delete,
    Dml,
    Expr,
    Inline,
    Insert,
    Item,
    Joined,
    Locking,
    Merge,
    Name,
    OrderItem,
    Returning,
    Select,
    TableRef,
    Update,
)


def _renamed(body: Body, names: Sequence[str]) -> Body:
    """The columns of `WITH name (columns) AS`: those of the first query have their names."""
    if isinstance(body, Compound):
        return replace(body, left=_renamed(body.left, names))
    if any(item.expr is None for item in body.items):
        raise OraError(3001, "unimplemented feature")
    if len(body.items) != len(names):
        raise OraError(
            32038, "number of WITH clause column names does not match number of elements"
        )
    named = zip(body.items, names, strict=True)
    return replace(body, items=tuple(replace(item, alias=name) for item, name in named))


Sets = tuple[tuple[Name, Expr | None], ...]


class Statements(Expressions):
    """SELECT, INSERT, UPDATE, DELETE and MERGE."""

    into: list[Expr] | None = None  #: where PL/SQL wants what SELECT INTO names

    def whole_select(self) -> Select:
        found = self.select()
        self.end()
        return found

    def select(self) -> Select:
        named: list[tuple[str, Select]] = []
        if self.accept("WITH"):
            named.append(self._named())
            while self.sign(","):
                named.append(self._named())
        body = self._body()
        order: tuple[OrderItem, ...] = ()
        if self.accept("ORDER", "BY"):
            order = self.order_items()
        offset, fetch = self._limits()
        return Select(body, order, offset, fetch, self._locking(), tuple(named))

    def _named(self) -> tuple[str, Select]:
        name = self.identifier()
        columns: list[str] = []
        if self.sign("("):
            columns.append(self.identifier())
            while self.sign(","):
                columns.append(self.identifier())
            self.expect_sign(")")
        self.expect("AS")
        found = self._subquery()
        return name, replace(found, body=_renamed(found.body, columns)) if columns else found

    def _body(self) -> Body:
        left = self._operand()
        while op := self.accept_any("UNION", "MINUS", "INTERSECT", "EXCEPT"):
            if op == "UNION" and self.accept("ALL"):
                op = "UNION ALL"
            left = Compound("MINUS" if op == "EXCEPT" else op, left, self._operand())
        return left

    def _operand(self) -> Body:
        if self.sign("("):
            body = self._body()
            self.expect_sign(")")
            return body
        return self._block()

    def _block(self) -> Block:
        if not self.accept("SELECT"):
            raise self.wrong(928, "missing SELECT keyword")
        distinct = self.accept_any("DISTINCT", "UNIQUE", "ALL") in ("DISTINCT", "UNIQUE")
        items = [self._item()]
        while self.sign(","):
            items.append(self._item())
        if self.at_words("INTO"):
            self._into()
        if not self.accept("FROM"):
            raise self.wrong(923, "FROM keyword not found where expected")
        sources = self._sources()
        where = self.expr() if self.accept("WHERE") else None
        level = None
        if self.accept("CONNECT", "BY"):
            level = self.expr()
        group: tuple[Expr, ...] = ()
        if self.accept("GROUP", "BY"):
            group = self.exprs()
        having = self.expr() if self.accept("HAVING") else None
        return Block(tuple(items), sources, where, distinct, group, having, level)

    def _into(self) -> None:
        if self.into is None:
            raise OraError(1744, "inappropriate INTO", self.token.at)
        self.expect("INTO")
        self.into.extend(self.exprs())

    def _item(self) -> Item:
        if self.sign("*"):
            return Item(None, "")
        if self.ahead().text == "." and self.ahead(2).text == "*":
            source = self.identifier()
            self.place += 2
            return Item(None, "", source)
        first = self.place
        expr = self.expr()
        text = self._text_from(first)
        alias = self.alias()
        if not alias:
            alias = expr.path[-1] if isinstance(expr, Name) else text
        return Item(expr, alias)

    def _text_from(self, first: int) -> str:
        """What an expression without an alias is called: its text, without blanks."""
        parts = []
        for token in self.tokens[first : self.place]:
            text = self.sql[token.at : token.until]
            parts.append(text.upper() if token.sort not in (Sort.STRING, Sort.QUOTED) else text)
        return "".join(parts)

    def _sources(self) -> tuple[Joined, ...]:
        found = [Joined(self._source())]
        while True:
            if self.sign(",") or self.accept("CROSS", "JOIN"):
                found.append(Joined(self._source()))
            elif self.accept("LEFT"):
                self.accept("OUTER")
                self.expect("JOIN")
                found.append(self._joined(outer=True))
            elif self.accept("INNER", "JOIN") or self.accept("JOIN"):
                found.append(self._joined(outer=False))
            elif self.at_words("RIGHT") or self.at_words("FULL") or self.at_words("NATURAL"):
                raise unimplemented(f"{self.token.text} JOIN", self.token.at)
            else:
                return tuple(found)

    def _joined(self, *, outer: bool) -> Joined:
        source = self._source()
        if self.at_words("USING"):
            raise unimplemented("JOIN ... USING", self.token.at)
        self.expect("ON")
        return Joined(source, outer, self.expr())

    def _source(self) -> TableRef | Inline:
        if self.at_sign("("):
            query = self._subquery()
            return Inline(query, self.alias())
        if self.at_words("TABLE") and self.ahead().text == "(":
            raise unimplemented("TABLE()", self.token.at)
        return self.table_ref()

    def table_ref(self) -> TableRef:
        at = self.token.at
        schema, name = self.qualified()
        if self.sign("@"):
            raise unimplemented("database links", at)
        if self.at_words("PARTITION") or self.at_words("SAMPLE"):
            raise unimplemented(f"{self.token.text} of a table", at)
        scn = self._as_of()
        alias = self.alias()
        return TableRef(schema, name, alias or name, scn, at)

    def _as_of(self) -> Expr | None:
        if self.at_words("VERSIONS") or self.at_words("AS", "OF", "TIMESTAMP"):
            raise unimplemented(
                f"{self.token.text} queries by timestamp or versions", self.token.at
            )
        return self.sum() if self.accept("AS", "OF", "SCN") else None

    def _limits(self) -> tuple[Expr | None, Expr | None]:
        offset = fetch = None
        if self.accept("OFFSET"):
            offset = self.sum()
            self.accept_any("ROW", "ROWS")
        if self.accept("FETCH"):
            self.accept_any("FIRST", "NEXT")
            fetch = self.sum()
            if self.at_words("PERCENT"):
                raise unimplemented("FETCH ... PERCENT", self.token.at)
            self.accept_any("ROW", "ROWS")
            self.expect("ONLY")
        return offset, fetch

    def _locking(self) -> Locking | None:
        if not self.accept("FOR", "UPDATE"):
            return None
        if self.accept("OF"):
            self.identifier()
            while self.sign(".") or self.sign(","):
                self.identifier()
        return self.waiting()

    def waiting(self) -> Locking:
        """NOWAIT, WAIT n, SKIP LOCKED or nothing."""
        if self.accept("NOWAIT"):
            return Locking(0)
        if self.accept("WAIT"):
            return Locking(self.integer())
        if self.accept("SKIP", "LOCKED"):
            return Locking(0, skip=True)
        return Locking()

    def dml(self) -> Dml:
        """A whole statement of DML."""
        found = self.dml_part()
        self.end()
        return found

    def dml_part(self) -> Dml:
        """A statement of DML, whatever follows it."""
        readers: dict[str, Callable[[], Dml]] = {
            "INSERT": self._insert,
            "UPDATE": self._update,
            "DELETE": self._delete,
            "MERGE": self._merge,
        }
        return readers[self.next().text]()

    def _insert(self) -> Insert:
        if self.accept_any("ALL", "FIRST"):
            raise unimplemented("multi-table INSERT", self.token.at)
        self.expect("INTO")
        table = self.table_ref()
        columns = None
        if self.at_sign("(") and self.ahead().text not in ("SELECT", "WITH"):
            columns = self.names()
        if not self.accept("VALUES"):
            return Insert(table, columns, None, self._query_of_insert(), self._returning())
        return Insert(table, columns, self._values(), None, self._returning())

    def _query_of_insert(self) -> Select:
        if not (self.at_words("SELECT") or self.at_words("WITH") or self.at_sign("(")):
            raise self.wrong(926, "missing VALUES keyword")
        return self.select()

    def _values(self) -> tuple[Expr | None, ...]:
        self.expect_sign("(")
        found = [self._value()]
        while self.sign(","):
            found.append(self._value())
        self.expect_sign(")")
        return tuple(found)

    def _value(self) -> Expr | None:
        return None if self.accept("DEFAULT") else self.expr()

    def _update(self) -> Update:
        table = self.table_ref()
        self.expect("SET")
        sets = self._sets()
        where = self.expr() if self.accept("WHERE") else None
        return Update(table, sets, where, self._returning())

    def _sets(self) -> Sets:
        found = [self._set()]
        while self.sign(","):
            found.append(self._set())
        return tuple(found)

    def _set(self) -> tuple[Name, Expr | None]:
        if self.at_sign("("):
            raise unimplemented("SET (a, b) = (subquery)", self.token.at)
        name = self._column()
        self.expect_sign("=")
        return name, self._value()

    def _column(self) -> Name:
        at = self.token.at
        path = [self.identifier()]
        while self.sign("."):
            path.append(self.identifier())
        return Name(tuple(path), at)

    def _delete(self) -> Delete:
        self.accept("FROM")
        table = self.table_ref()
        where = self.expr() if self.accept("WHERE") else None
        return Delete(table, where, self._returning())

    def _returning(self) -> Returning | None:
        if not self.accept_any("RETURNING", "RETURN"):
            return None
        exprs = self.exprs()
        self.expect("INTO")
        first = self.token.at
        targets = self.exprs()
        if len(targets) != len(exprs) or not all(isinstance(t, BindRef) for t in targets):
            raise OraError(947, "not enough values", first)
        return Returning(exprs)

    def _merge(self) -> Merge:
        self.expect("INTO")
        table = self.table_ref()
        self.expect("USING")
        source = self._source()
        self.expect("ON")
        self.expect_sign("(")
        on = self.expr()
        self.expect_sign(")")
        merge = Merge(table, source, on, None, None, None, None, None, None)
        while self.accept("WHEN"):
            merge = self._not_matched(merge) if self.accept("NOT") else self._matched(merge)
        return merge

    def _matched(self, merge: Merge) -> Merge:
        self.expect("MATCHED", "THEN", "UPDATE", "SET")
        sets = self._sets()
        where = self.expr() if self.accept("WHERE") else None
        delete = self.expr() if self.accept("DELETE", "WHERE") else None
        return Merge(
            merge.table,
            merge.source,
            merge.on,
            sets,
            where,
            delete,
            merge.columns,
            merge.values,
            merge.insert_where,
        )

    def _not_matched(self, merge: Merge) -> Merge:
        self.expect("MATCHED", "THEN", "INSERT")
        self.expect_sign("(")
        columns = [self._column()]
        while self.sign(","):
            columns.append(self._column())
        self.expect_sign(")")
        self.expect("VALUES")
        values = self._values()
        where = self.expr() if self.accept("WHERE") else None
        return Merge(
            merge.table,
            merge.source,
            merge.on,
            merge.sets,
            merge.set_where,
            merge.delete_where,
            tuple(columns),
            values,
            where,
        )
