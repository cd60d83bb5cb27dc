"""The preview is stable, so that whoever may only read asks it too: by GET, through the real PostgREST."""

import json

import httpx

from testkit.payments import element
from testkit.project import Project


def test_the_preview_answers_a_get_as_it_answers_a_post(project: Project) -> None:
    group = project.shop.order_group()
    payments = [element(group.payment()), element(group.payment().but(amount_minor=1, amount="0.01")), 5]
    key = project.stack.service_role_key
    url = f"{project.stack.url}/rest/v1/rpc/preview_order_group_payments"
    text = json.dumps(payments, default=str)
    with httpx.Client(headers={"apikey": key, "Authorization": f"Bearer {key}"}) as client:
        got = client.get(url, params={"p_payments": text})
        posted = client.post(url, content=f'{{"p_payments": {text}}}', headers={"Content-Type": "application/json"})
        refused = client.get(url, params={"p_payments": "cart-17"})

    assert (got.status_code, got.json()) == (200, posted.json())
    assert [(one["outcome"], one["reason"]) for one in got.json()[:2]] == [
        ("applied", None),
        ("rejected", "amount_mismatch"),
    ]
    assert (refused.status_code, refused.json()["code"]) == (400, "22023")
