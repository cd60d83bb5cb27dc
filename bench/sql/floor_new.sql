select bench.pay_at_the_floor(nextval('bench.next_group'));
