"""Parse expressions and conditions."""

from __future__ import annotations

from decimal import Decimal

from oracle.standin.backend import Kind, Moment, Months, OraError
from oracle.standin.engine import masks
from oracle.standin.engine.datatypes import (
    DATE,
    DOUBLE,
    FIXED,
    NUMBER,
    STAMP,
    STAMP_TZ,
    VARCHAR,
    DataType,
)
from oracle.standin.engine.reading import Reading, unimplemented
from oracle.standin.engine.temporals import interval
from oracle.standin.engine.tokens import Sort
from oracle.standin.engine.tree import (
    Binary,
    BindRef,
    Call,
    Case,
    Cast,
    Exists,
    Expr,
    Extract,
    InList,
    InQuery,
    IsNull,
    Like,
    Literal,
    Name,
    OrderItem,
    RowOf,
    Scalar,
    Select,
    Unary,
)

NULL = Literal(None, VARCHAR)
_COMPARISONS = {
    "=": "=",
    "<>": "<>",
    "!=": "<>",
    "^=": "<>",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_EPOCH = Moment(1970)


class Expressions(Reading):
    """From OR down to the smallest part."""

    def select(self) -> Select:
        raise NotImplementedError

    def expr(self) -> Expr:
        """An expression or a condition; which of them may stand here is found out when it is compiled."""
        left = self._conjunction()
        while self.accept("OR"):
            left = Binary("OR", left, self._conjunction())
        return left

    def exprs(self) -> tuple[Expr, ...]:
        found = [self.expr()]
        while self.sign(","):
            found.append(self.expr())
        return tuple(found)

    def order_items(self) -> tuple[OrderItem, ...]:
        found = [self._order_item()]
        while self.sign(","):
            found.append(self._order_item())
        return tuple(found)

    def _order_item(self) -> OrderItem:
        expr = self.expr()
        descending = self.accept_any("ASC", "DESC") == "DESC"
        first = None
        if self.accept("NULLS"):
            first = self.accept_any("FIRST", "LAST") == "FIRST"
        return OrderItem(expr, descending, first)

    def _conjunction(self) -> Expr:
        left = self._negation()
        while self.accept("AND"):
            left = Binary("AND", left, self._negation())
        return left

    def _negation(self) -> Expr:
        if self.accept("NOT"):
            return Unary("NOT", self._negation())
        return self._predicate()

    def _predicate(self) -> Expr:
        if self.accept("EXISTS"):
            return Exists(self._subquery())
        left = self.sum()
        while True:
            if self.token.sort is Sort.SIGN and self.token.text in _COMPARISONS:
                op = _COMPARISONS[self.next().text]
                if self.accept_any("ANY", "ALL", "SOME"):
                    raise unimplemented("ANY and ALL", self.token.at)
                left = Binary(op, left, self.sum())
            elif self.accept("IS"):
                negated = self.accept("NOT")
                if not self.accept("NULL"):
                    raise unimplemented("IS with other than NULL", self.token.at)
                left = Unary("NOT", IsNull(left)) if negated else IsNull(left)
            else:
                negated = self.at_words("NOT")
                self.place += negated
                found = self._suffixed(left)
                if found is None:
                    self.place -= negated
                    return left
                left = Unary("NOT", found) if negated else found

    def _suffixed(self, left: Expr) -> Expr | None:
        if self.accept("BETWEEN"):
            low = self.sum()
            self.expect("AND")
            return Binary("AND", Binary(">=", left, low), Binary("<=", left, self.sum()))
        if self.accept("LIKE"):
            pattern = self.sum()
            return Like(left, pattern, self.sum() if self.accept("ESCAPE") else None)
        if self.accept("IN"):
            if self.ahead().text in ("SELECT", "WITH") and self.at_sign("("):
                return InQuery(left, self._subquery())
            self.expect_sign("(")
            items = self.exprs()
            self.expect_sign(")")
            return InList(left, items)
        return None

    def _subquery(self) -> Select:
        self.expect_sign("(")
        query = self.select()
        self.expect_sign(")")
        return query

    def sum(self) -> Expr:
        left = self._product()
        while self.token.sort is Sort.SIGN and self.token.text in ("+", "-", "||"):
            op = self.next().text
            left = Binary(op, left, self._product())
        return left

    def _product(self) -> Expr:
        left = self._factor()
        while self.token.sort is Sort.SIGN and self.token.text in ("*", "/"):
            op = self.next().text
            left = Binary(op, left, self._factor())
        return left

    def _factor(self) -> Expr:
        if self.sign("-"):
            return Unary("-", self._factor())
        if self.sign("+"):
            return self._factor()
        found = self._atom()
        if self.at_words("AT") and self.ahead().text in ("TIME", "LOCAL"):
            raise unimplemented("AT TIME ZONE", self.token.at)
        return found

    def _atom(self) -> Expr:
        token = self.next()
        match token.sort:
            case Sort.NUMBER if token.text[-1] in "dDfF":
                return Literal(float(token.text[:-1]), DOUBLE)
            case Sort.NUMBER:
                return Literal(Decimal(token.text), NUMBER)
            case Sort.STRING:
                return Literal(token.text or None, FIXED)
            case Sort.NATIONAL:
                return Literal(token.text or None, DataType(Kind.CHAR, national=True))
            case Sort.BIND:
                self.binds += 1
                if self.at_sign("."):  # :new.c of a trigger
                    self.next()
                    return Name((f":{token.text}", self.identifier()), token.at)
                return BindRef(token.text, self.binds - 1, token.at)
            case Sort.QUOTED:
                return self._name(token.text, token.at)
            case Sort.WORD:
                return self._word(token.text, token.at)
            case Sort.SIGN if token.text == "(":
                return self._parenthesis()
            case _:
                raise OraError(936, "missing expression", token.at)

    def _parenthesis(self) -> Expr:
        if self.at_words("SELECT") or self.at_words("WITH"):
            query = self.select()
            self.expect_sign(")")
            return Scalar(query)
        items = self.exprs()
        self.expect_sign(")")
        return items[0] if len(items) == 1 else RowOf(items)

    def _word(self, word: str, at: int) -> Expr:
        match word:
            case "NULL":
                return NULL
            case "CASE":
                return self._case()
            case "CAST" if self.at_sign("("):
                return self._cast()
            case "EXTRACT" if self.at_sign("("):
                return self._extract()
            case "DATE" if self.token.sort is Sort.STRING:
                return Literal(masks.read(self.string(), "SYYYY-MM-DD", _EPOCH), DATE)
            case "TIMESTAMP" if self.token.sort is Sort.STRING:
                return _timestamp(self.string())
            case "INTERVAL" if self.token.sort is Sort.STRING:
                return self._interval()
            case "DISTINCT" | "SELECT" | "FROM" | "WHERE" | "AND" | "OR":
                raise OraError(936, "missing expression", at)
            case _:
                return self._name(word, at)

    def _name(self, first: str, at: int) -> Expr:
        path = [first]
        while self.sign("."):
            if self.at_sign("*"):
                raise OraError(936, "missing expression", self.token.at)
            path.append(self.identifier())
        if not self.at_sign("("):
            return Name(tuple(path), at)
        if self.ahead().text == "+" and self.ahead(2).text == ")":
            raise unimplemented("(+): write LEFT JOIN", self.token.at)
        return self._call(".".join(path).removeprefix("SYS."), at)

    def _call(self, name: str, at: int) -> Expr:
        self.expect_sign("(")
        distinct = self.accept_any("DISTINCT", "UNIQUE", "ALL") in ("DISTINCT", "UNIQUE")
        args: tuple[Expr, ...] = ()
        if self.sign("*"):
            args = (Literal(Decimal(1), NUMBER),)
        elif not self.at_sign(")"):
            args = self.exprs()
            if name == "TRIM" and self.accept("FROM"):
                raise unimplemented("TRIM of other than blanks", at)
        self.expect_sign(")")
        within: tuple[OrderItem, ...] = ()
        if self.accept("WITHIN", "GROUP"):
            self.expect_sign("(")
            self.expect("ORDER", "BY")
            within = self.order_items()
            self.expect_sign(")")
        if self.at_words("OVER") or self.at_words("KEEP"):
            raise unimplemented("analytic functions", self.token.at)
        return Call(name, args, at, distinct, within)

    def _case(self) -> Expr:
        operand = None if self.at_words("WHEN") else self.expr()
        whens: list[tuple[Expr, Expr]] = []
        while self.accept("WHEN"):
            when = self.expr()
            self.expect("THEN")
            whens.append((when, self.expr()))
        otherwise = self.expr() if self.accept("ELSE") else None
        self.expect("END")
        return Case(operand, tuple(whens), otherwise)

    def _cast(self) -> Expr:
        self.expect_sign("(")
        arg = self.expr()
        self.expect("AS")
        to = self.data_type()
        self.expect_sign(")")
        return Cast(arg, to)

    def _extract(self) -> Expr:
        self.expect_sign("(")
        unit = self.identifier()
        self.expect("FROM")
        arg = self.expr()
        self.expect_sign(")")
        return Extract(unit, arg)

    def _interval(self) -> Expr:
        text = self.string()
        first = last = self._unit()
        if self.accept("TO"):
            last = self._unit()
        value = interval(text, first, last)
        kind = Kind.INTERVAL_YM if isinstance(value, Months) else Kind.INTERVAL_DS
        return Literal(value, DataType(kind, precision=9, scale=9))

    def _unit(self) -> str:
        unit = self.identifier()
        if unit not in ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"):
            raise self.wrong(30089, "missing or invalid <datetime field>")
        self._size(0)
        return unit


def _timestamp(text: str) -> Literal:
    body, _, zone = text.strip().partition(" ")[2].partition(" ")
    zoned = bool(zone) or "+" in body or "-" in body
    if not zoned:
        return Literal(masks.read(text, "SYYYY-MM-DD HH24:MI:SSXFF", _EPOCH), STAMP)
    mask = "SYYYY-MM-DD HH24:MI:SS" + ("XFF" if "." in text else "") + " TZR"
    return Literal(masks.read(text, mask, _EPOCH), STAMP_TZ)
