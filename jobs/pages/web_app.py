"""The pages, and the acts of people on them, over HTTP.

Who has the address may look and decide: it holds a token that nobody can guess. Each act carries a second
one, which only pages of this server know, in a header that a form of another site cannot send.
"""

import asyncio
import hmac
import logging

from aiohttp import web

from jobs.pages.served_pages import ServedPages
from reid.errors import InputError, ReidError
from reid.report.thumbnails import UNREADABLE

MOST_BODY = 4 << 20
GUARDS = {
    "Referrer-Policy": "no-referrer",  # the token is in the address
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",
}
LIMITS = ("place", "from", "to", "individual")  # of what is asked about, in the address
KEPT = {"Cache-Control": "private, max-age=3600"}
STALE = "This page is of before the server was started again: reload it."


def make_app(pages: ServedPages, base: str) -> web.Application:
    """The application: every address begins with `base`, and all else is not there."""
    routes = web.RouteTableDef()

    @routes.get(f"{base}/")
    async def index(_: web.Request) -> web.Response:
        return _html(await asyncio.to_thread(pages.index))

    @routes.get(f"{base}/animal")
    async def animal(request: web.Request) -> web.Response:
        return _html(await asyncio.to_thread(pages.animal, request.query.get("picture", "")))

    @routes.get(f"{base}/review")
    async def review(request: web.Request) -> web.Response:
        limits = {name: request.query.get(name, "") for name in LIMITS}
        try:
            page = await asyncio.to_thread(pages.review, request.query.getall("skip", []), limits)
        except InputError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return _html(page)

    @routes.get(f"{base}/version")
    async def version(_: web.Request) -> web.Response:
        held = await asyncio.to_thread(pages.desk.held)
        return web.json_response({"version": held.version})

    @routes.get(f"{base}/picture")
    async def picture(request: web.Request) -> web.Response:
        px = request.query.get("px", "")
        wanted = request.query.get("id", ""), int(px) if px.isdecimal() else 0
        try:
            data = await asyncio.to_thread(pages.picture, *wanted)
        except UNREADABLE as error:
            raise web.HTTPNotFound(text=str(error)) from error
        if data is None:
            raise web.HTTPNotFound
        return web.Response(body=data, content_type="image/webp", headers=KEPT)

    @routes.post(f"{base}/act/{{name}}")
    async def act(request: web.Request) -> web.Response:
        given = request.headers.get("X-Reid-Token", "")
        if not hmac.compare_digest(given.encode(), pages.csrf.encode()):
            return web.json_response({"ok": False, "says": STALE}, status=403)
        form: dict[str, list[str]] = {}
        for field, value in (await request.post()).items():
            form.setdefault(field, []).append(str(value))
        try:
            done = await asyncio.to_thread(pages.act, request.match_info["name"], form)
        except ReidError as error:
            return web.json_response({"ok": False, "says": str(error)}, status=409)
        return web.json_response(done)

    app = web.Application(client_max_size=MOST_BODY)
    app.add_routes(routes)
    app.on_response_prepare.append(_guarded)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # it would write the token down
    return app


async def _guarded(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in GUARDS.items():
        response.headers.setdefault(name, value)


def _html(page: bytes | None) -> web.Response:
    if page is None:
        raise web.HTTPNotFound(text="There is no such picture here any more.")
    return web.Response(body=page, content_type="text/html", charset="utf-8")


def check_port(port: int) -> None:
    """Refuse what is no port.

    Raises:
        InputError: with the limits.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: a port is a number from 1 to 65535; 0 takes a free one")
