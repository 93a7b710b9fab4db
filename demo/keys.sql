-- The shop, after its rows: keys, indexes, triggers, views, rights.

alter table customers add primary key (id);
create unique index customers_email on customers (lower(email));
create index customers_preferences on customers using gin (preferences);
alter table products add primary key (id);
alter table products add constraint products_sku unique (sku);
create index products_search on products using gin (search);
alter table warehouses add primary key (id);
alter table stock add primary key (product_id, warehouse_id);
alter table stock add foreign key (product_id) references products, add foreign key (warehouse_id) references warehouses;
alter table stock_audit add primary key (id);
alter table orders add primary key (id, placed_at);
create index orders_customer on orders (customer_id);
alter table orders add foreign key (customer_id) references customers;
alter table order_items add primary key (order_id, line);
alter table order_items add foreign key (order_id, placed_at) references orders on update cascade;
alter table order_items add foreign key (product_id) references products;
alter table payments add primary key (id, method);
create index payments_order on payments (order_id) where amount > 50;
alter table carts add primary key (id);
alter table coupons add primary key (id);
alter table coupons add constraint coupons_code unique (code);
alter table documents add primary key (id);
alter table curios add primary key (id);
alter table ledger add primary key (writer, n);

create trigger customers_touch before update on customers for each row execute function touch();
create trigger stock_audit after update on stock for each row execute function audit_stock();

create view order_totals as
    select o.id, o.placed_at, o.customer_id, sum(i.quantity * i.price) as total
    from orders o join order_items i on i.order_id = o.id group by 1, 2, 3;
create materialized view best_sellers as
    select product_id, sum(quantity) as sold from order_items group by 1;
create unique index best_sellers_product on best_sellers (product_id);
create statistics stock_spread (dependencies) on product_id, warehouse_id from stock;

comment on table page_views is 'no key: rows may repeat';
comment on column products.price is 'in euro; the "list" price isn''t';

grant usage on schema public to shop_app;
grant select, insert, update, delete on all tables in schema public to shop_app;
grant usage on all sequences in schema public to shop_app;
alter default privileges in schema public grant select, insert, update, delete on tables to shop_app;
