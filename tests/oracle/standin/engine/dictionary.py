"""The dictionary's views. ALL_ forms; DBA_ and USER_ are made of them."""

from __future__ import annotations

from oracle.standin.engine import dictionary_rows, surroundings
from oracle.standin.engine.relations import View

VIEWS = {
    "ALL_TABLES": View.of(
        """OWNER varchar2(128), TABLE_NAME varchar2(128), TABLESPACE_NAME varchar2(30), CLUSTER_NAME varchar2(128),
        IOT_NAME varchar2(128), STATUS varchar2(8), LOGGING varchar2(3), NUM_ROWS number, PARTITIONED varchar2(3),
        IOT_TYPE varchar2(12), TEMPORARY varchar2(1), SECONDARY varchar2(1), NESTED varchar2(3), DROPPED varchar2(3),
        EXTERNAL varchar2(3), BLOCKS number, TABLE_LOCK varchar2(8)""",
        lambda session: ((*row, None, "ENABLED") for row in dictionary_rows.tables(session)),
    ),
    "ALL_TAB_COLS": View.of(
        """OWNER varchar2(128), TABLE_NAME varchar2(128), COLUMN_NAME varchar2(128), DATA_TYPE varchar2(128),
        DATA_TYPE_OWNER varchar2(128), DATA_LENGTH number, DATA_PRECISION number, DATA_SCALE number,
        NULLABLE varchar2(1), COLUMN_ID number, INTERNAL_COLUMN_ID number, DEFAULT_LENGTH number, DATA_DEFAULT long,
        VIRTUAL_COLUMN varchar2(3), HIDDEN_COLUMN varchar2(3), USER_GENERATED varchar2(3), CHAR_LENGTH number,
        CHAR_USED varchar2(1), IDENTITY_COLUMN varchar2(3), DEFAULT_ON_NULL varchar2(3),
        CHARACTER_SET_NAME varchar2(44), DATA_TYPE_MOD varchar2(3)""",
        lambda session: ((*row, None) for row in dictionary_rows.columns(session)),
    ),
    "ALL_CONSTRAINTS": View.of(
        """OWNER varchar2(128), CONSTRAINT_NAME varchar2(128), CONSTRAINT_TYPE varchar2(1), TABLE_NAME varchar2(128),
        SEARCH_CONDITION long, SEARCH_CONDITION_VC varchar2(4000), R_OWNER varchar2(128),
        R_CONSTRAINT_NAME varchar2(128), DELETE_RULE varchar2(9), STATUS varchar2(8), DEFERRABLE varchar2(14),
        DEFERRED varchar2(9), VALIDATED varchar2(13), GENERATED varchar2(14), RELY varchar2(4),
        INDEX_OWNER varchar2(128), INDEX_NAME varchar2(128)""",
        dictionary_rows.constraints,
    ),
    "ALL_CONS_COLUMNS": View.of(
        """OWNER varchar2(128), CONSTRAINT_NAME varchar2(128), TABLE_NAME varchar2(128), COLUMN_NAME varchar2(4000),
        POSITION number""",
        dictionary_rows.cons_columns,
    ),
    "ALL_INDEXES": View.of(
        """OWNER varchar2(128), INDEX_NAME varchar2(128), INDEX_TYPE varchar2(27), TABLE_OWNER varchar2(128),
        TABLE_NAME varchar2(128), TABLE_TYPE varchar2(11), UNIQUENESS varchar2(9), STATUS varchar2(8),
        PARTITIONED varchar2(3), VISIBILITY varchar2(9), GENERATED varchar2(1), CONSTRAINT_INDEX varchar2(3),
        TEMPORARY varchar2(1)""",
        dictionary_rows.indexes,
    ),
    "ALL_IND_COLUMNS": View.of(
        """INDEX_OWNER varchar2(128), INDEX_NAME varchar2(128), TABLE_OWNER varchar2(128), TABLE_NAME varchar2(128),
        COLUMN_NAME varchar2(4000), COLUMN_POSITION number, DESCEND varchar2(4)""",
        dictionary_rows.ind_columns,
    ),
    "ALL_OBJECTS": View.of(
        """OWNER varchar2(128), OBJECT_NAME varchar2(128), SUBOBJECT_NAME varchar2(128), OBJECT_ID number,
        DATA_OBJECT_ID number, OBJECT_TYPE varchar2(23), CREATED date, LAST_DDL_TIME date, STATUS varchar2(7),
        TEMPORARY varchar2(1), GENERATED varchar2(1), SECONDARY varchar2(1)""",
        dictionary_rows.objects,
    ),
    "ALL_LOG_GROUPS": View.of(
        """OWNER varchar2(128), LOG_GROUP_NAME varchar2(128), TABLE_NAME varchar2(128), LOG_GROUP_TYPE varchar2(19),
        ALWAYS varchar2(11), GENERATED varchar2(14)""",
        dictionary_rows.log_groups,
    ),
    "ALL_TRIGGERS": View.of(
        """OWNER varchar2(128), TRIGGER_NAME varchar2(128), TRIGGER_TYPE varchar2(16), TRIGGERING_EVENT varchar2(246),
        TABLE_OWNER varchar2(128), BASE_OBJECT_TYPE varchar2(18), TABLE_NAME varchar2(128), COLUMN_NAME varchar2(4000),
        WHEN_CLAUSE varchar2(4000), STATUS varchar2(8), TRIGGER_BODY long, CROSSEDITION varchar2(7),
        BEFORE_STATEMENT varchar2(3)""",
        dictionary_rows.triggers,
    ),
    "ALL_SEQUENCES": View.of(
        """SEQUENCE_OWNER varchar2(128), SEQUENCE_NAME varchar2(128), MIN_VALUE number, MAX_VALUE number,
        INCREMENT_BY number, CYCLE_FLAG varchar2(1), ORDER_FLAG varchar2(1), CACHE_SIZE number, LAST_NUMBER number""",
        dictionary_rows.sequences,
    ),
    "ALL_TAB_IDENTITY_COLS": View.of(
        """OWNER varchar2(128), TABLE_NAME varchar2(128), COLUMN_NAME varchar2(128), GENERATION_TYPE varchar2(10),
        SEQUENCE_NAME varchar2(128), IDENTITY_OPTIONS varchar2(298)""",
        dictionary_rows.identities,
    ),
    "DBA_EXTENTS": View.of(
        """OWNER varchar2(128), SEGMENT_NAME varchar2(128), PARTITION_NAME varchar2(128), SEGMENT_TYPE varchar2(18),
        TABLESPACE_NAME varchar2(30), EXTENT_ID number, FILE_ID number, BLOCK_ID number, BYTES number, BLOCKS number,
        RELATIVE_FNO number""",
        dictionary_rows.extents,
    ),
    "ALL_USERS": View.of(
        """USERNAME varchar2(128), USER_ID number, CREATED date, COMMON varchar2(3),
        ORACLE_MAINTAINED varchar2(1)""",
        lambda session: (
            (*row, "Y" if row[0] == "SYS" else "N") for row in dictionary_rows.users(session)
        ),
    ),
    "SESSION_PRIVS": View.of("PRIVILEGE varchar2(40)", dictionary_rows.privileges),
    "SESSION_ROLES": View.of("ROLE varchar2(128)", dictionary_rows.roles),
}
#: Of what can't be made here, there is nothing.
_EMPTY = {
    "ALL_VIEWS": "OWNER varchar2(128), VIEW_NAME varchar2(128), TEXT_LENGTH number, TEXT long",
    "ALL_MVIEWS": """OWNER varchar2(128), MVIEW_NAME varchar2(128), CONTAINER_NAME varchar2(128),
        QUERY long""",
    "ALL_SYNONYMS": """OWNER varchar2(128), SYNONYM_NAME varchar2(128), TABLE_OWNER varchar2(128),
        TABLE_NAME varchar2(128), DB_LINK varchar2(128)""",
    "ALL_SOURCE": """OWNER varchar2(128), NAME varchar2(128), TYPE varchar2(12), LINE number,
        TEXT varchar2(4000)""",
    "ALL_TYPES": "OWNER varchar2(128), TYPE_NAME varchar2(128), TYPECODE varchar2(128)",
    "ALL_EXTERNAL_TABLES": "OWNER varchar2(128), TABLE_NAME varchar2(128), TYPE_NAME varchar2(128)",
    "ALL_NESTED_TABLES": """OWNER varchar2(128), TABLE_NAME varchar2(128), PARENT_TABLE_NAME varchar2(128),
        PARENT_TABLE_COLUMN varchar2(4000)""",
    "ALL_QUEUE_TABLES": "OWNER varchar2(128), QUEUE_TABLE varchar2(128)",
    "ALL_IND_EXPRESSIONS": """INDEX_OWNER varchar2(128), INDEX_NAME varchar2(128), TABLE_OWNER varchar2(128),
        TABLE_NAME varchar2(128), COLUMN_EXPRESSION long, COLUMN_POSITION number""",
    "ALL_PART_TABLES": """OWNER varchar2(128), TABLE_NAME varchar2(128), PARTITIONING_TYPE varchar2(9),
        SUBPARTITIONING_TYPE varchar2(9), PARTITION_COUNT number, INTERVAL varchar2(1000),
        REF_PTN_CONSTRAINT_NAME varchar2(128)""",
    "ALL_PART_KEY_COLUMNS": """OWNER varchar2(128), NAME varchar2(128), OBJECT_TYPE char(5),
        COLUMN_NAME varchar2(4000), COLUMN_POSITION number""",
}
VIEWS |= {name: View.of(columns, dictionary_rows.nothing) for name, columns in _EMPTY.items()}
VIEWS["ALL_TAB_COLUMNS"] = View(
    VIEWS["ALL_TAB_COLS"].columns,
    lambda session: (row for row in VIEWS["ALL_TAB_COLS"].fill(session) if row[14] == "NO"),
)
VIEWS |= surroundings.VIEWS
