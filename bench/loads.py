"""The work that both sides of a comparison do: tables, and transactions that pgbench runs on them."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.arena import uri
from servers import Database

SECONDS = 600

TPCB = """
\\set aid random(1, 100000 * :scale)
\\set bid random(1, 1 * :scale)
\\set tid random(1, 10 * :scale)
\\set delta random(-5000, 5000)
begin;
update pgbench_accounts set abalance = abalance + :delta where aid = :aid;
select abalance from pgbench_accounts where aid = :aid;
update pgbench_tellers set tbalance = tbalance + :delta where tid = :tid;
update pgbench_branches set bbalance = bbalance + :delta where bid = :bid;
insert into pgbench_history (tid, bid, aid, delta, mtime)
    values (:tid, :bid, :aid, :delta, current_timestamp);
end;
"""

#: As sysbench's oltp_write_only: an indexed column, a wide one, a row that goes and comes back.
SYSBENCH_TABLE = """
create table sbtest (id int primary key, k int not null, c char(120) not null, pad char(60) not null);
insert into sbtest select i, (random() * 500000 * :scale / 10)::int, md5(i::text) || md5((i + 1)::text), md5(i::text)
    from generate_series(1, 50000 * :scale) i;
create index sbtest_k on sbtest (k);
vacuum analyze sbtest;
"""
SYSBENCH = """
\\set a random(1, 50000 * :scale)
\\set b random(1, 50000 * :scale)
\\set d random(1, 50000 * :scale)
\\set k random(1, 50000 * :scale)
begin;
update sbtest set k = k + 1 where id = :a;
update sbtest set c = md5(:k::text) || md5(:a::text) where id = :b;
delete from sbtest where id = :d;
insert into sbtest (id, k, c, pad) values (:d, :k, md5(:k::text) || md5(:b::text), md5(:d::text))
    on conflict (id) do nothing;
end;
"""

#: TPC-C's three writing transactions, on its tables without their idle columns: no measure of TPC-C.
TPCC_TABLES = """
create table warehouse (w_id int primary key, w_name text, w_ytd numeric(12,2) not null);
create table district (d_w_id int, d_id int, d_ytd numeric(12,2) not null, d_next_o_id int not null,
    d_next_delivery int not null, primary key (d_w_id, d_id));
create table customer (c_w_id int, c_d_id int, c_id int, c_last text, c_balance numeric(12,2) not null,
    c_ytd_payment numeric(12,2) not null, c_payment_cnt int not null, c_data text,
    primary key (c_w_id, c_d_id, c_id));
create table history (h_c_id int, h_c_d_id int, h_c_w_id int, h_date timestamptz, h_amount numeric(6,2), h_data text);
create table orders (o_w_id int, o_d_id int, o_id int, o_c_id int, o_entry_d timestamptz, o_carrier_id int,
    o_ol_cnt int, primary key (o_w_id, o_d_id, o_id));
create index orders_customer on orders (o_w_id, o_d_id, o_c_id, o_id);
create table new_order (no_w_id int, no_d_id int, no_o_id int, primary key (no_w_id, no_d_id, no_o_id));
create table order_line (ol_w_id int, ol_d_id int, ol_o_id int, ol_number int, ol_i_id int, ol_delivery_d timestamptz,
    ol_quantity int, ol_amount numeric(6,2), ol_dist_info char(24), primary key (ol_w_id, ol_d_id, ol_o_id, ol_number));
create table stock (s_w_id int, s_i_id int, s_quantity int not null, s_ytd int not null, s_order_cnt int not null,
    s_data text, primary key (s_w_id, s_i_id));
insert into warehouse select w, 'w' || w, 0 from generate_series(1, :scale) w;
insert into district select w, d, 0, 1, 1 from generate_series(1, :scale) w, generate_series(1, 10) d;
insert into customer select w, d, c, md5(c::text), 0, 0, 0, repeat(md5(c::text), 6)
    from generate_series(1, :scale) w, generate_series(1, 10) d, generate_series(1, 300) c;
insert into stock select w, i, 50, 0, 0, md5(i::text) from generate_series(1, :scale) w, generate_series(1, 10000) i;
create function new_order(w int, d int, c int, n int) returns void language plpgsql as $f$
declare o int;
begin
    update district set d_next_o_id = d_next_o_id + 1 where d_w_id = w and d_id = d returning d_next_o_id - 1 into o;
    insert into orders values (w, d, o, c, now(), null, n);
    insert into new_order values (w, d, o);
    for line in 1..n loop
        update stock set s_quantity = case when s_quantity > 15 then s_quantity - 5 else s_quantity + 86 end,
            s_ytd = s_ytd + 5, s_order_cnt = s_order_cnt + 1
            where s_w_id = w and s_i_id = 1 + (o * 7919 + line * 104729 + c * 31 + d) % 10000;
        insert into order_line values (w, d, o, line, 1 + (o * 7919 + line * 104729 + c * 31 + d) % 10000, null, 5,
            (o + line) % 9999, md5(line::text)::char(24));
    end loop;
end $f$;
create function payment(w int, d int, c int, amount int) returns void language plpgsql as $f$
begin
    update warehouse set w_ytd = w_ytd + amount where w_id = w;
    update district set d_ytd = d_ytd + amount where d_w_id = w and d_id = d;
    update customer set c_balance = c_balance - amount, c_ytd_payment = c_ytd_payment + amount,
        c_payment_cnt = c_payment_cnt + 1 where c_w_id = w and c_d_id = d and c_id = c;
    insert into history values (c, d, w, now(), amount, 'payment');
end $f$;
create function delivery(w int, d int) returns void language plpgsql as $f$
declare o int; customer_id int; total numeric;
begin
    update district set d_next_delivery = d_next_delivery + 1
        where d_w_id = w and d_id = d and d_next_delivery < d_next_o_id returning d_next_delivery - 1 into o;
    if o is null then return; end if;
    delete from new_order where no_w_id = w and no_d_id = d and no_o_id = o;
    update orders set o_carrier_id = 1 + o % 10 where o_w_id = w and o_d_id = d and o_id = o
        returning o_c_id into customer_id;
    update order_line set ol_delivery_d = now() where ol_w_id = w and ol_d_id = d and ol_o_id = o;
    select sum(ol_amount) into total from order_line where ol_w_id = w and ol_d_id = d and ol_o_id = o;
    update customer set c_balance = c_balance + total where c_w_id = w and c_d_id = d and c_id = customer_id;
end $f$;
"""
TPCC = """
\\set w random(1, :scale)
\\set d random(1, 10)
\\set c random(1, 300)
\\set n random(5, 15)
\\set kind random(1, 100)
\\if :kind <= 46
select new_order(:w, :d, :c, :n);
\\elif :kind <= 92
select payment(:w, :d, :c, :n);
\\else
select delivery(:w, :d);
\\endif
"""

INSERTS_TABLE = """
create table ins (id bigserial primary key, a int, b timestamptz, c text);
"""
INSERTS = """
\\set a random(1, 1000000)
insert into ins (a, b, c) select :a + i, now(), md5(i::text) || md5(:a::text) from generate_series(1, 100) i;
"""


@dataclass(frozen=True, slots=True)
class Load:
    """Tables in a state, and one transaction that changes them."""

    name: str
    script: str
    scale: int
    transactions: int  #: that make the backlog of a round
    tables: str = ""  #: SQL; empty: pgbench's own

    def prepare(self, database: Database, directory: Path) -> None:
        if not self.tables:
            pgbench(database, "--initialize", "--quiet", f"--scale={self.scale}")
            return
        file = directory / f"{self.name}-tables.sql"
        file.write_text(self.tables, encoding="utf-8")
        run(
            [
                *("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-v", f"scale={self.scale}"),
                *("-f", str(file), uri(database)),
            ]
        )

    def command(self, directory: Path) -> list[str]:
        file = directory / f"{self.name}.sql"
        file.write_text(self.script, encoding="utf-8")
        return ["--no-vacuum", f"--file={file}", f"--define=scale={self.scale}"]

    def make_backlog(self, database: Database, directory: Path, clients: int = 2) -> None:
        """Run it without waiting for the disk at each commit: it is the backlog that counts, not how it came."""
        pgbench(
            database,
            *self.command(directory),
            f"--client={clients}",
            f"--jobs={clients}",
            f"--transactions={max(1, self.transactions // clients)}",
            options="-c synchronous_commit=off",
        )


def loads(size: float = 1.0) -> dict[str, Load]:
    """The four, as large as asked: 1.0 is some seconds of a peer's time."""
    scale = max(1, round(10 * min(1.0, size * 2)))

    def count(transactions: int) -> int:
        return max(20, int(transactions * size))

    made = [
        Load("tpcb", TPCB, scale, count(80_000)),
        Load("sysbench", SYSBENCH, scale, count(45_000), SYSBENCH_TABLE),
        Load("tpcc", TPCC, scale, count(22_000), TPCC_TABLES),
        Load("inserts", INSERTS, scale, count(6_000), INSERTS_TABLE),
    ]
    return {load.name: load for load in made}


def pgbench(
    database: Database, *words: str, options: str = "", seconds: float = SECONDS
) -> subprocess.CompletedProcess[str]:
    return run(
        ["pgbench", *words, uri(database)],
        env={"PGOPTIONS": options} if options else {},
        seconds=seconds,
    )


def achieved(output: str) -> float:
    """Transactions a second, as pgbench says at its end."""
    found = re.search(r"tps = ([0-9.]+)", output)
    return float(found[1]) if found else float("nan")


def run(
    command: list[str],
    *,
    env: dict[str, str] | None = None,
    seconds: float = SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it said is in the error when it fails."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        env={**os.environ, **(env or {})},
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-1500:]}")
    return done
