from sql_tests.play import Connection, Database, Shop, reconcile, scalar


def test_first_payment_marks_everything_paid(db: Database, service: Connection, shop: Shop) -> None:
    group = shop.order_group()
    verdict = reconcile(service, group.payment())
    assert verdict == {}
