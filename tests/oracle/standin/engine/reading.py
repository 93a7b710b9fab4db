"""The parser's ground: a place among tokens, and the small grammar that all statements share."""

from __future__ import annotations

from oracle.standin.backend import Kind, OraError
from oracle.standin.engine.datatypes import DataType
from oracle.standin.engine.tokens import Sort, Token, tokens

_RESERVED = """
    SELECT FROM WHERE GROUP ORDER HAVING UNION MINUS INTERSECT CONNECT START ON JOIN LEFT RIGHT
    INNER CROSS FULL NATURAL USING FOR FETCH OFFSET AS SET VALUES WHEN AND OR NOT IN IS LIKE
    BETWEEN NULL THEN ELSE END ASC DESC INTO WITH BY UNIQUE DISTINCT TABLE INSERT UPDATE DELETE
    MERGE RETURNING RETURN CASE EXISTS DEFAULT LOG CREATE ALTER DROP GRANT CHECK OF
"""
#: Words that end an expression or a table's name and so are no alias.
RESERVED = frozenset(_RESERVED.split())


def unimplemented(what: str, at: int = 0) -> OraError:
    """What Oracle can and the stand-in can't: never a guess."""
    return OraError(3001, f"unimplemented feature: {what}", at)


class Reading:
    """A place in a statement. Words are compared in capitals; a quoted name is never a word."""

    def __init__(self, sql: str, *, byte_semantics: bool = True, max_string: int = 4000) -> None:
        self.sql = sql
        self.tokens = tokens(sql)
        self.place = 0
        self.binds = 0
        self.byte_semantics = byte_semantics
        self.max_string = max_string

    @property
    def token(self) -> Token:
        return self.tokens[self.place]

    def ahead(self, by: int = 1) -> Token:
        return self.tokens[min(self.place + by, len(self.tokens) - 1)]

    def next(self) -> Token:
        token = self.tokens[self.place]
        self.place = min(self.place + 1, len(self.tokens) - 1)
        return token

    def at_words(self, *words: str) -> bool:
        """Tell whether these words come next, one after the other."""
        found = self.tokens[self.place : self.place + len(words)]
        return len(found) == len(words) and all(
            token.sort is Sort.WORD and token.text == word
            for token, word in zip(found, words, strict=True)
        )

    def accept(self, *words: str) -> bool:
        """Go past these words if they come next."""
        if not self.at_words(*words):
            return False
        self.place += len(words)
        return True

    def accept_any(self, *words: str) -> str | None:
        """Go past one of these words."""
        return next((word for word in words if self.accept(word)), None)

    def expect(self, *words: str) -> None:
        if not self.accept(*words):
            raise self.wrong(905 if words[0].isalpha() else 900, f"missing {words[0]} keyword")

    def at_sign(self, sign: str) -> bool:
        return self.token.sort is Sort.SIGN and self.token.text == sign

    def sign(self, sign: str) -> bool:
        """Go past this sign if it comes next."""
        if not self.at_sign(sign):
            return False
        self.place += 1
        return True

    def expect_sign(self, sign: str) -> None:
        if not self.sign(sign):
            names = {"(": (906, "left parenthesis"), ")": (907, "right parenthesis")}
            code, what = names.get(sign, (923 if sign == "=" else 933, f"'{sign}'"))
            raise self.wrong(code, f"missing {what}")

    def wrong(self, code: int, message: str) -> OraError:
        return OraError(code, message, self.token.at)

    def identifier(self) -> str:
        token = self.next()
        if token.sort is Sort.QUOTED or (
            token.sort is Sort.WORD and token.text not in ("SELECT", "FROM", "WHERE")
        ):
            return token.text
        raise OraError(904, f"{token.text or 'end of statement'}: invalid identifier", token.at)

    def qualified(self) -> tuple[str | None, str]:
        """A name, and its schema if one is named."""
        name = self.identifier()
        if not self.sign("."):
            return None, name
        return name, self.identifier()

    def names(self) -> tuple[str, ...]:
        """`(a, b)`."""
        self.expect_sign("(")
        found = [self.identifier()]
        while self.sign(","):
            found.append(self.identifier())
        self.expect_sign(")")
        return tuple(found)

    def integer(self) -> int:
        negative = self.sign("-")
        token = self.next()
        if token.sort is not Sort.NUMBER or not token.text.isdecimal():
            raise OraError(2017, "integer value required", token.at)
        return -int(token.text) if negative else int(token.text)

    def string(self) -> str:
        token = self.next()
        if token.sort not in (Sort.STRING, Sort.NATIONAL):
            raise OraError(1780, "string literal required", token.at)
        return token.text

    def alias(self) -> str:
        """An alias, or '' where none stands."""
        if self.accept("AS"):
            return self.identifier()
        token = self.token
        if token.sort is Sort.QUOTED or (token.sort is Sort.WORD and token.text not in RESERVED):
            return self.next().text
        return ""

    def end(self) -> None:
        """Nothing may follow but one semicolon."""
        self.sign(";")
        if self.token.sort is not Sort.END:
            raise self.wrong(933, "SQL command not properly ended")

    def data_type(self) -> DataType:
        """A type as a column's definition and CAST have it."""
        token = self.next()
        if token.sort is not Sort.WORD:
            raise OraError(902, "invalid datatype", token.at)
        match token.text:
            case "VARCHAR2" | "VARCHAR" | "NVARCHAR2":
                return self._text(Kind.VARCHAR2, national=token.text[0] == "N")
            case "CHAR" | "NCHAR" | "CHARACTER":
                return self._text(Kind.CHAR, national=token.text[0] == "N")
            case "NUMBER" | "NUMERIC" | "DECIMAL" | "DEC":
                return self._number(token.text)
            case "INTEGER" | "INT" | "SMALLINT":
                return DataType(Kind.NUMBER, scale=0)
            case "FLOAT":
                return DataType(Kind.NUMBER, precision=self._size(126), is_float=True)
            case "TIMESTAMP":
                return self._timestamp()
            case "INTERVAL":
                return self._interval_type()
            case "RAW":
                return DataType(Kind.RAW, self._size(0))
            case "LONG":
                return DataType(Kind.LONG_RAW if self.accept("RAW") else Kind.LONG)
            case "NCLOB":
                return DataType(Kind.CLOB, national=True)
            case "CLOB" | "BLOB" | "DATE" | "BINARY_FLOAT" | "BINARY_DOUBLE" | "ROWID" as name:
                return DataType(Kind[name])
            case name:
                raise unimplemented(f"the type {name}", token.at)

    def _size(self, otherwise: int) -> int:
        if not self.sign("("):
            return otherwise
        size = self.integer()
        self.expect_sign(")")
        return size

    def _text(self, kind: Kind, *, national: bool) -> DataType:
        in_bytes = self.byte_semantics and not national
        length = 1
        if self.sign("("):
            length = self.integer()
            if unit := self.accept_any("BYTE", "CHAR"):
                in_bytes = unit == "BYTE"
            self.expect_sign(")")
        elif kind is Kind.VARCHAR2:
            raise self.wrong(906, "missing left parenthesis")
        most = self.max_string if kind is Kind.VARCHAR2 else 2000
        if not 1 <= length <= (most // 2 if national else most):
            raise self.wrong(910, "specified length too long for its datatype")
        return DataType(kind, length, national=national, byte_semantics=in_bytes)

    def _number(self, name: str) -> DataType:
        if not self.sign("("):
            return DataType(Kind.NUMBER) if name == "NUMBER" else DataType(Kind.NUMBER, scale=0)
        precision = None if self.sign("*") else self.integer()
        scale = self.integer() if self.sign(",") else None if precision is None else 0
        self.expect_sign(")")
        if precision is not None and not 1 <= precision <= 38:
            raise self.wrong(1727, "numeric precision specifier is out of range (1 to 38)")
        if scale is not None and not -84 <= scale <= 127:
            raise self.wrong(1728, "numeric scale specifier is out of range (-84 to 127)")
        return DataType(Kind.NUMBER, precision=precision, scale=scale)

    def _timestamp(self) -> DataType:
        digits = self._digits(6)
        kind = Kind.TIMESTAMP
        if self.accept("WITH", "TIME", "ZONE"):
            kind = Kind.TIMESTAMP_TZ
        elif self.accept("WITH", "LOCAL", "TIME", "ZONE"):
            kind = Kind.TIMESTAMP_LTZ
        return DataType(kind, scale=digits)

    def _interval_type(self) -> DataType:
        if self.accept("YEAR"):
            precision = self._digits(2)
            self.expect("TO", "MONTH")
            return DataType(Kind.INTERVAL_YM, precision=precision)
        self.expect("DAY")
        precision = self._digits(2)
        self.expect("TO", "SECOND")
        return DataType(Kind.INTERVAL_DS, precision=precision, scale=self._digits(6))

    def _digits(self, otherwise: int) -> int:
        digits = self._size(otherwise)
        if not 0 <= digits <= 9:
            raise self.wrong(30088, "datetime/interval precision is out of range")
        return digits
