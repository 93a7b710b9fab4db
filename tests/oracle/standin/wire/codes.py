"""The numbers that name things on the wire, as python-oracledb's thin mode sends and expects them."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class PacketType(IntEnum):
    CONNECT = 1
    ACCEPT = 2
    REFUSE = 4
    DATA = 6
    MARKER = 12


class Marker(IntEnum):
    """Tokens of an exchange that clears the line: BREAK, answered by RESET, answered by RESET."""

    BREAK = 1
    RESET = 2
    INTERRUPT = 3


class Message(IntEnum):
    """What a message within DATA packets is; a request and a reply may hold several."""

    PROTOCOL = 1
    DATA_TYPES = 2
    FUNCTION = 3
    ERROR = 4
    ROW_HEADER = 6
    ROW_DATA = 7
    PARAMETER = 8
    STATUS = 9
    IO_VECTOR = 11
    LOB_DATA = 14
    DESCRIBE = 16
    PIGGYBACK = 17


class Function(IntEnum):
    """A call, or a notice that travels in front of one."""

    REEXECUTE = 4
    FETCH = 5
    LOGOFF = 9
    COMMIT = 14
    ROLLBACK = 15
    REEXECUTE_AND_FETCH = 78
    EXECUTE = 94
    LOB = 96
    CLOSE_CURSORS = 105
    AUTH_TWO = 115
    AUTH_ONE = 118
    END_TO_END = 135
    PING = 147
    SET_SCHEMA = 152


class Option(IntFlag):
    """What an EXECUTE asks for."""

    PARSE = 0x1
    BIND = 0x8
    DEFINE = 0x10
    EXECUTE = 0x20
    FETCH = 0x40
    COMMIT = 0x100
    DESCRIBE = 0x20000
    BATCH_ERRORS = 0x80000


class LobOperation(IntEnum):
    LENGTH = 0x1
    READ = 0x2
    TRIM = 0x20
    WRITE = 0x40
    CREATE_TEMPORARY = 0x110
    CHUNK_SIZE = 0x4000
    OPEN = 0x8000
    CLOSE = 0x10000
    IS_OPEN = 0x11000


#: Among an EXECUTE's further flags: tell the affected rows of each execution.
WANTS_ROW_COUNTS = 0x4000

#: A bind's flag: it is a PL/SQL array.
IS_ARRAY = 0x40

#: The second options of a REEXECUTE: commit when it is done.
COMMIT_REEXECUTE = 0x1

#: Of the status that ends each reply.
IN_TRANSACTION = 0x2

#: Of a DATA packet: the client closes the connection.
END_OF_FILE = 0x40

#: Character sets by Oracle's numbers, and how text is marked to be in the national one.
AL32UTF8 = 873
AL16UTF16 = 2000
IMPLICIT, NATIONAL = 1, 2
