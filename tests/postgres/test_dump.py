"""A dump is taken apart at its own headers, whatever its objects contain."""

from __future__ import annotations

from bowline_worker.endpoints.base import Section
from bowline_worker.endpoints.postgres import dump
from bowline_worker.endpoints.postgres.extent import closure

HOSTILE = """--
-- PostgreSQL database dump
--

\\restrict abc

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: trap(integer); Type: FUNCTION; Schema: public; Owner: joe
--

CREATE FUNCTION public.trap(a integer) RETURNS text
    LANGUAGE plpgsql
    AS $_$
begin
--
-- Name: fake; Type: TABLE; Schema: public; Owner: joe
--
ALTER TABLE public.fake OWNER TO nobody;
end $_$;


ALTER FUNCTION public.trap(a integer) OWNER TO "Joe ""the"" boss";

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: a; Type: TABLE b; Type: TABLE; Schema: public; Owner: joe
--

CREATE TABLE public."a; Type: TABLE b" (
    n integer DEFAULT '1
--
-- Name: also fake; Type: VIEW; Schema: public; Owner: joe
--
'
);


ALTER TABLE public."a; Type: TABLE b" OWNER TO joe;

--
-- Name: SCHEMA public; Type: ACL; Schema: -; Owner: joe
--

GRANT ALL ON SCHEMA public TO joe;
GRANT USAGE ON SCHEMA public TO PUBLIC;


--
-- PostgreSQL database dump complete
--

\\unrestrict abc
"""


def test_headers_inside_bodies_and_texts_are_no_headers() -> None:
    found = dump.split(HOSTILE, Section.PRE_DATA)

    assert [(one.ordinal, one.kind, one.name) for one in found] == [
        (0, "FUNCTION", "public.trap(integer)"),
        (1, "OWNER", "public.trap(integer)"),
        (2, "TABLE", "public.a; Type: TABLE b"),
        (3, "OWNER", "public.a; Type: TABLE b"),
        (4, "ACL", "SCHEMA public"),
    ]
    assert found[0].sql.endswith("end $_$;")
    assert "ALTER TABLE public.fake OWNER TO nobody;" in found[0].sql
    assert found[1].sql == 'ALTER FUNCTION public.trap(a integer) OWNER TO "Joe ""the"" boss";'
    assert found[2].sql.startswith("CREATE TABLE")
    assert found[2].sql.endswith(");")
    assert found[4].sql.splitlines()[-1] == "GRANT USAGE ON SCHEMA public TO PUBLIC;"


def test_another_access_method_stays_with_its_tables() -> None:
    script = HOSTILE.replace(
        "default_table_access_method = heap", "default_table_access_method = columnar"
    )

    table = dump.split(script, Section.PRE_DATA)[2]
    assert table.sql.startswith("SET LOCAL default_table_access_method = columnar;\nCREATE TABLE")


def test_needed_schemas_are_followed_to_the_end() -> None:
    assert closure({"a"}, [("a", "b"), ("b", "c"), ("d", "e")]) == ["a", "b", "c"]
