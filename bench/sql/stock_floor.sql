-- The floor's copy of the groups that are new.

insert into bench.groups select * from public.order_groups on conflict do nothing;
insert into bench.orders select * from public.orders on conflict do nothing;
insert into bench.items select * from public.order_items on conflict do nothing;
