-- About a million rows times :scale, made by the server.

insert into customers (email, name, status, lives_at, tags, preferences, country, birthday, joined, updated_at)
select 'c' || i || '@example.org', 'Customer ' || i || case when i % 97 = 0 then ' żółć 😀' else '' end,
    (enum_range(null::customer_status))[1 + i % 4],
    case when i % 5 <> 0 then row(i || ' High Street', case when i % 7 <> 0 then 'Town "' || i % 100 || '"' end, lpad((i % 90000)::text, 5, '0'))::address end,
    case when i % 3 = 0 then array['vip', 'a,b'] else '{}' end,
    jsonb_build_object('n', i, 'mail', i % 2 = 0, 'empty', ''), (array['DE', 'FR', 'PL', 'UK'])[1 + i % 4],
    date '1950-01-01' + i % 20000, timestamptz '2020-01-01' + i * interval '31 minutes', timestamp '2025-01-01' + i * interval '1 second'
from generate_series(1, (80000 * :scale)::int) i;

insert into products (sku, title, price, list_price, weight, volume, in_sale, attributes)
select 'sku-' || i, 'Product ' || i || ' of ' || md5(i::text), (i % 10000) / 100.0, ((i % 10000) / 90.0)::numeric::money,
    (i % 1000) / 7.0, case i % 500 when 1 then 'infinity'::float8 when 2 then 'nan' else i / 3.0 end, i % 11 <> 0,
    case when i % 3 = 0 then ('{"b" : 1,  "a": [' || i || ']}')::json end
from generate_series(1, (20000 * :scale)::int) i;

insert into warehouses select i, 'Warehouse ' || i, point(i, -i), time '06:00' + i * interval '1 minute', ('10.' || i || '.0.0/16')::cidr
from generate_series(1, 4) i;

insert into stock select p, w, 1000000 from generate_series(1, (20000 * :scale)::int) p, generate_series(1, 2) w;

insert into orders (placed_at, customer_id, note, invoice)
select timestamptz '2023-01-01' + i * interval '8 minutes' / :scale, 1 + i % (80000 * :scale)::int,
    case i % 10 when 0 then '' when 1 then null else 'order ' || i end, nextval('invoice_number')
from generate_series(1, (180000 * :scale)::int) i;

insert into order_items
select o.id, o.placed_at, line, 1 + (o.id * 7 + line) % (20000 * :scale)::int, 1 + line % 5, (o.id % 1000) / 10.0
from orders o, generate_series(1, 3) line where line < 3 or o.id % 2 = 0;

insert into payments (method, order_id, amount, paid_at)
select (array['card', 'bank', 'direct debit', 'cash'])[1 + i % 4], i, (i % 1000) / 10.0, timestamptz '2023-01-01' + i * interval '9 minutes'
from generate_series(1, (90000 * :scale)::int) i;

insert into carts (customer_id, lines, expires)
select i, jsonb_build_array(i, i + 1), i * interval '1 minute' from generate_series(1, (10000 * :scale)::int) i;

insert into coupons select i, 'code-' || i, tstzrange('2025-01-01', case when i % 3 <> 0 then timestamptz '2026-01-01' + i * interval '1 hour' end)
from generate_series(1, (2000 * :scale)::int) i;

insert into documents (id, title, body, scan)
select i, 'Document ' || i, (select string_agg(md5(i::text || j), '') from generate_series(1, 100) j), decode(repeat(md5(i::text), 4), 'hex')
from generate_series(1, (1000 * :scale)::int) i;

insert into page_views
select nullif(i % 5000, 0), '/p/' || i % 300, case when i % 2 = 0 then '10.1.2.3'::inet else '2001:db8::1/64' end,
    case i % 4 when 0 then 1.50 when 1 then 1.5 when 2 then null else i / 8.0 end, timestamp '2025-06-01' + i % 40000 * interval '1 second'
from generate_series(1, (130000 * :scale)::int) i;

insert into curios
select i, (i % 256)::bit(8), substring((i * 7)::bit(20)::varbit for 1 + i % 20), '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
    timetz '12:00:00.000001+02' + i * interval '1 second', array[i, null, -i], array[[i, 2], [3, 4]], int4range(i, i + 10),
    int4multirange(int4range(1, 3), int4range(i + 5, i + 9)), daterange('2025-01-01', null), box(point(0, 0), point(i, i)),
    polygon(box(point(0, 0), point(i, 1))), circle(point(i, 2), 3), to_tsquery('simple', 'a & b:*'), '$.a[*] ? (@ > 1)',
    ('0/' || to_hex(i))::pg_lsn, chr(65 + i % 26)::"char", i * 1234567890.0123456789,
    case i % 5 when 0 then 'NaN' when 1 then 1e100 + i else i / 7.0 end, enum_range(null::customer_status)
from generate_series(1, (3000 * :scale)::int) i;
