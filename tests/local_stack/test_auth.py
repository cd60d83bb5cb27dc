"""Anonymous sign-in as Supabase Auth answers it, and what a browser's page of another origin needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from supabase_auth.helpers import parse_auth_response, parse_user_response

from local_stack.keys import sign
from local_stack.stack import Stack

ORIGIN = {"Origin": "http://shop.example.com"}


@pytest.fixture
def api(local_stack_only: Stack) -> Iterator[httpx.Client]:
    """A client with the publishable key."""
    headers = {"apikey": local_stack_only.publishable_key}
    with httpx.Client(base_url=local_stack_only.url, headers=headers, trust_env=False) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error_code"]


def signed_up(api: httpx.Client) -> dict[str, Any]:
    answer = api.post("/auth/v1/signup", json={"data": {}})
    assert answer.status_code == 200
    session: dict[str, Any] = answer.json()
    return session


def test_visitor_becomes_a_user_whose_token_the_data_api_takes(api: httpx.Client, local_stack_only: Stack) -> None:
    answer = api.post("/auth/v1/signup", json={"data": {}})
    session = parse_auth_response(answer).session

    assert session is not None
    assert session.user.is_anonymous
    with psycopg.connect(local_stack_only.dsn()) as superuser:
        row = superuser.execute("select role, is_anonymous from auth.users where id = %s", [session.user.id]).fetchone()
    assert row == ("authenticated", True)
    rows = api.get("/rest/v1/order_groups", headers=bearer(session.access_token))
    assert (rows.status_code, rows.json()) == (200, [])


def test_token_tells_whose_it_is_and_a_fresh_one_is_the_same_users(api: httpx.Client) -> None:
    session = signed_up(api)

    fresh = api.post(
        "/auth/v1/token", params={"grant_type": "refresh_token"}, json={"refresh_token": session["refresh_token"]}
    ).json()

    for token in (session["access_token"], fresh["access_token"]):
        answer = parse_user_response(api.get("/auth/v1/user", headers=bearer(token)))
        assert answer.user.id == session["user"]["id"]


def test_refresh_token_is_no_access_token_and_the_other_way_round(api: httpx.Client) -> None:
    session = signed_up(api)
    grant = {"grant_type": "refresh_token"}

    as_access = api.get("/auth/v1/user", headers=bearer(session["refresh_token"]))
    as_refresh = api.post("/auth/v1/token", params=grant, json={"refresh_token": session["access_token"]})
    at_the_data_api = api.get("/rest/v1/order_groups", headers=bearer(session["refresh_token"]))

    assert (refusal(as_access), refusal(as_refresh)) == ((403, "bad_jwt"), (400, "refresh_token_not_found"))
    assert at_the_data_api.status_code == 401


def test_what_proves_nobody_is_refused(api: httpx.Client, local_stack_only: Stack) -> None:
    forged = sign("another project's secret, 32 bytes", {"sub": str(uuid4()), "aud": "authenticated"})
    tokens = {
        "x": "bad_jwt",
        forged: "bad_jwt",
        local_stack_only.anon_key: "bad_jwt",
        local_stack_only.user_token(uuid4()): "user_not_found",
        local_stack_only.user_token(uuid4(), lifetime=-1): "bad_jwt",
    }

    for token, code in tokens.items():
        assert refusal(api.get("/auth/v1/user", headers=bearer(token))) == (403, code)


def test_what_the_local_stack_does_not_have_is_said(api: httpx.Client) -> None:
    assert refusal(api.post("/auth/v1/signup", json={"email": "a@b.test", "password": "x"})) == (422, "signup_disabled")
    assert refusal(api.post("/auth/v1/otp", json={})) == (404, "not_found")
    assert httpx.get(f"{api.base_url}/auth/v1/user", trust_env=False).status_code == 401


@pytest.mark.parametrize("path", ["/rest/v1/order_groups", "/auth/v1/signup"])
def test_page_of_another_origin_may_ask_and_read(local_stack_only: Stack, path: str) -> None:
    asked = {
        **ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,x-client-info",
    }
    with httpx.Client(base_url=local_stack_only.url, trust_env=False) as browser:
        preflight = browser.options(path, headers=asked)
        refused = browser.post(path, headers=ORIGIN, json={})
        answered = browser.post(path, headers={**ORIGIN, "apikey": local_stack_only.publishable_key}, json={})

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-headers"] == "apikey,x-client-info"
    assert [answer.headers["access-control-allow-origin"] for answer in (preflight, refused, answered)] == ["*"] * 3


def test_service_key_finds_a_user_by_id_and_nobody_else_does(api: httpx.Client, local_stack_only: Stack) -> None:
    user_id = signed_up(api)["user"]["id"]
    with psycopg.connect(local_stack_only.dsn(), autocommit=True) as superuser:
        superuser.execute("update auth.users set email = %s where id = %s", [f"{user_id}@example.com", user_id])
    path = f"/auth/v1/admin/users/{user_id}"
    for key in (local_stack_only.secret_key, local_stack_only.service_role_key):
        answer = api.get(path, headers={"apikey": key})
        assert parse_user_response(answer).user.email == f"{user_id}@example.com"

    assert refusal(api.get(path)) == (403, "not_admin")
    assert refusal(api.get(path, headers=bearer(signed_up(api)["access_token"]))) == (403, "not_admin")
    for nobody in (uuid4(), "nobody"):
        answer = api.get(f"/auth/v1/admin/users/{nobody}", headers={"apikey": local_stack_only.secret_key})
        assert refusal(answer) == (404, "user_not_found")
