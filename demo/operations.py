"""What the shop's application does: small transactions, each of which leaves its number in the table `ledger`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEDGER = "with l as (insert into ledger (writer, n, op) values (%(writer)s, %(n)s, %(op)s))"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of transaction: its statements, and how often it comes."""

    name: str
    share: int
    statements: tuple[str, ...]  #: one: autocommitted; more: in BEGIN and COMMIT
    rolls_back: bool = False


KINDS = (
    Kind(
        "order",
        30,
        (
            LEDGER
            + """, o as (
                insert into orders (placed_at, customer_id, note, invoice)
                values (timestamptz '2023-01-01' + %(a)s * interval '1 hour', %(customer)s,
                        nullif('order of ' || %(a)s, 'order of 7'), nextval('invoice_number'))
                returning id, placed_at
            ), p as (
                insert into payments (method, order_id, amount)
                select (array['card', 'bank', 'cash'])[1 + %(a)s %% 3], id, 12.50 from o
            )
            insert into order_items
            select id, placed_at, line, %(product)s, line, 9.99 from o, generate_series(1, 2) line""",
        ),
    ),
    Kind(
        "stock",
        25,
        (
            LEDGER
            + """ update stock set quantity = quantity - 1
            where product_id = %(product)s and warehouse_id = 1 + %(a)s %% 2""",
        ),
    ),
    Kind(
        "customer",
        10,
        (
            LEDGER
            + """ update customers
            set preferences = preferences || jsonb_build_object('last', %(n)s), status = 'active',
                tags = array_append(tags[1:3], 'é"' || %(a)s)
            where id = %(customer)s""",
        ),
    ),
    Kind(
        "cart",
        8,
        (
            LEDGER
            + """ insert into carts (customer_id, lines, expires)
            values (%(customer)s, '[1, {"é": null}]', %(a)s * interval '1 second')""",
        ),
    ),
    Kind(
        "cart gone",
        6,
        (
            LEDGER
            + """ delete from carts
            where id = (select id from carts where id >= %(a)s order by id limit 1)""",
        ),
    ),
    Kind(  # a row gets another key
        "cart renamed",
        4,
        (
            LEDGER
            + """ update carts set id = nextval('carts_id_seq')
            where id = (select id from carts where id >= %(a)s order by id limit 1)""",
        ),
    ),
    Kind(  # the large values of the row stay as they are, and are not in the log
        "title",
        4,
        (
            LEDGER
            + """ update documents set title = 'Title ' || %(n)s, version = version + 1
            where id = %(document)s""",
        ),
    ),
    Kind(  # no key, and twice the same row
        "view",
        5,
        (
            LEDGER
            + """ insert into page_views
            select nullif(%(a)s %% 9, 0), '/p/new', null, 1.0, timestamp '2025-01-01'
            from generate_series(1, 2)""",
        ),
    ),
    Kind(  # no key, and one of the rows that are alike changes
        "view seen",
        2,
        (
            LEDGER
            + """ update page_views set seconds = coalesce(seconds, 0) + 1
            where ctid = (select ctid from page_views where path = '/p/' || %(a)s %% 300 limit 1)""",
        ),
    ),
    Kind(
        "view gone",
        1,
        (
            LEDGER
            + """ delete from page_views
            where ctid = (select ctid from page_views where path = '/p/' || %(a)s %% 300 limit 1)""",
        ),
    ),
    Kind(  # two rows exchange unique values
        "swap",
        2,
        (LEDGER + " select swap_coupons(%(coupon)s, %(coupon)s + %(coupons)s)",),
    ),
    Kind(  # a row moves to another partition, and its items follow
        "move",
        1,
        (
            LEDGER
            + """ update orders set placed_at = placed_at + interval '200 days'
            where (id, placed_at) = (
                select id, placed_at from orders where id >= %(a)s order by id limit 1)""",
        ),
    ),
    Kind(
        "half",
        1,
        (
            LEDGER + " select 1",
            "savepoint s",
            "update stock set quantity = 0 where product_id = %(product)s",
            "rollback to s",
        ),
    ),
    Kind(
        "rolled back",
        1,
        (
            LEDGER + " select 1",
            "update stock set quantity = 0 where product_id = %(product)s",
            "delete from page_views where ctid = '(0,1)'",
        ),
        rolls_back=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Ranges:
    """How large the shop is: where random keys come from."""

    customers: int
    products: int
    documents: int
    coupons: int  #: half of them

    @classmethod
    def of(cls, scale: float) -> Ranges:
        return cls(
            customers=int(80000 * scale),
            products=int(20000 * scale),
            documents=int(1000 * scale),
            coupons=int(1000 * scale),
        )


def choose(source: random.Random) -> Kind:
    return source.choices(KINDS, weights=[kind.share for kind in KINDS])[0]


def parameters(
    source: random.Random, ranges: Ranges, writer: int, n: int, kind: Kind
) -> Mapping[str, Any]:
    return {
        "writer": writer,
        "n": n,
        "op": kind.name,
        "a": source.randrange(1, 10000),
        "customer": source.randint(1, ranges.customers),
        "product": source.randint(1, ranges.products),
        "document": source.randint(1, ranges.documents),
        "coupon": source.randint(1, ranges.coupons),
        "coupons": ranges.coupons,
    }
