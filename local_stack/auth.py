"""As much of Supabase Auth as a shop needs: anonymous sign-in, a fresh token, whose token it is, and a user by id.

Paths, answers and errors are those of https://github.com/supabase/auth, which supabase-js and supabase-py take it for.
There are no e-mails, passwords and providers here, and a session cannot be revoked.
"""

from __future__ import annotations

import time
import uuid
from typing import Any, LiteralString

import jwt
import psycopg
from aiohttp import hdrs, web
from psycopg.rows import dict_row

from local_stack.keys import TEN_YEARS, USER_TOKEN_SECONDS, sign

PREFIX = "/auth/v1"
AUDIENCE = "authenticated"
REFRESH = "refresh"
ADMIN = "/admin/users/"
INSERT: LiteralString = """
insert into auth.users (instance_id, id, aud, role, is_anonymous, last_sign_in_at, created_at, updated_at)
values ('00000000-0000-0000-0000-000000000000', %s, 'authenticated', 'authenticated', true, now(), now(), now())
"""
SELECT: LiteralString = """
select id, aud, role, coalesce(email, '') as email, is_anonymous, created_at, updated_at from auth.users where id = %s
"""


class AuthError(Exception):
    """An answer of Auth's that refuses."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = web.json_response({"code": status, "error_code": code, "msg": message}, status=status)


class Auth:
    """The request handlers. `dsn` is that of supabase_auth_admin, `jwt_secret` the project's."""

    def __init__(self, *, dsn: str, jwt_secret: str) -> None:
        self._dsn = dsn
        self._jwt_secret = jwt_secret
        self._routes = {
            (hdrs.METH_POST, "/signup"): self._sign_up,
            (hdrs.METH_POST, "/token"): self._refresh,
            (hdrs.METH_GET, "/user"): self._user,
        }

    async def handle(self, request: web.Request, *, authorization: str) -> web.Response:
        """Answer a request that has shown an API key. `authorization` is the header with the key's own token."""
        path = request.path.removeprefix(PREFIX)
        route = self._routes.get((request.method, path))
        try:
            if request.method == hdrs.METH_GET and path.startswith(ADMIN):
                return await self._any_user(path.removeprefix(ADMIN), authorization)
            if route is None:
                raise AuthError(404, "not_found", "Not on the local stack, which signs in anonymously only")
            return await route(request)
        except AuthError as error:
            return error.answer

    async def _sign_up(self, request: web.Request) -> web.Response:
        """https://supabase.com/docs/reference/javascript/auth-signinanonymously"""
        if {"email", "phone", "password"} & (await request.json()).keys():
            raise AuthError(422, "signup_disabled", "The local stack signs in anonymously only")
        user_id = uuid.uuid4()
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            await connection.execute(INSERT, [user_id])
        return web.json_response(await self._session(str(user_id)))

    async def _refresh(self, request: web.Request) -> web.Response:
        claims = self._claims((await request.json()).get("refresh_token", ""))
        if request.query.get("grant_type") != "refresh_token" or claims.get("use") != REFRESH:
            raise AuthError(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        return web.json_response(await self._session(claims["sub"]))

    async def _user(self, request: web.Request) -> web.Response:
        claims = self._claims(request.headers.get(hdrs.AUTHORIZATION, "").removeprefix("Bearer "))
        if claims.get("aud") != AUDIENCE:
            raise AuthError(403, "bad_jwt", "invalid claim: missing sub claim")
        return web.json_response(await self._person(claims["sub"]))

    async def _any_user(self, user_id: str, authorization: str) -> web.Response:
        """https://supabase.com/docs/reference/javascript/auth-admin-getuserbyid"""
        if self._claims(authorization.removeprefix("Bearer ")).get("role") != "service_role":
            raise AuthError(403, "not_admin", "User not allowed")
        try:
            return web.json_response(await self._person(str(uuid.UUID(user_id))))
        except (AuthError, ValueError):
            raise AuthError(404, "user_not_found", "User not found") from None

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(token, self._jwt_secret, algorithms=["HS256"], options={"verify_aud": False})
        except jwt.InvalidTokenError as error:
            raise AuthError(403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {error}") from None

    async def _person(self, user_id: str) -> dict[str, Any]:
        async with await psycopg.AsyncConnection.connect(self._dsn, row_factory=dict_row) as connection:
            row = await (await connection.execute(SELECT, [user_id])).fetchone()
        if row is None:
            raise AuthError(403, "user_not_found", "User from sub claim in JWT does not exist")
        times = {name: row[name].isoformat() for name in ("created_at", "updated_at")}
        return {**row, **times, "id": str(row["id"]), "app_metadata": {}, "user_metadata": {}, "identities": []}

    async def _session(self, user_id: str) -> dict[str, Any]:
        user = await self._person(user_id)
        claims = {"sub": user_id, "aud": AUDIENCE, "role": user["role"], "is_anonymous": user["is_anonymous"]}
        return {
            "access_token": sign(self._jwt_secret, claims, lifetime=USER_TOKEN_SECONDS),
            "token_type": "bearer",
            "expires_in": USER_TOKEN_SECONDS,
            "expires_at": int(time.time()) + USER_TOKEN_SECONDS,
            "refresh_token": sign(self._jwt_secret, {"sub": user_id, "use": REFRESH}, lifetime=TEN_YEARS),
            "user": user,
        }
