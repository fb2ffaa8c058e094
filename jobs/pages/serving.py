"""`reid serve`: individuals in a browser, and decisions in place."""

import asyncio
import contextlib
import ipaddress
import secrets
import signal

from aiohttp import web

from jobs.common.console import print_result, say
from jobs.pages.catalogue_desk import CatalogueDesk, Desk
from jobs.pages.served_pages import ServedPages
from jobs.pages.web_app import check_port, make_app
from reid.config import Config
from reid.errors import InputError
from reid.sources.places import absolute

AT_ONCE = "Decisions hold at once, and in every later run."


def serve(
    config: Config,
    catalogue: str | None,
    results: str | None,
    *,
    host: str,
    port: int,
    deployments: str | None = None,
    date_order: str | None = None,
) -> None:
    """Serve until Ctrl-C; the address, with its token, goes to stdout.

    Raises:
        InputError: both or none are given, there is nothing in it, or the address cannot be served.
    """
    check_port(port)
    desk = open_desk(config, catalogue, results, deployments=deployments, date_order=date_order)
    desk.held()
    token = secrets.token_urlsafe(18)
    pages = ServedPages(desk, config.images, base=f"/{token}", effect=AT_ONCE)
    app = make_app(pages, f"/{token}")
    if not _is_loopback(host):
        say(
            f"warning: --host {host}: whoever can reach this machine and has the address below may look and decide; "
            "it is not encrypted. Over an ssh tunnel it would be: leave --host out, and ssh -L "
            f"{port or 8765}:localhost:{port or 8765}"
        )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(app, host, port, token))
    say("serve: stopped; all decisions are kept")


def open_desk(
    config: Config,
    catalogue: str | None,
    results: str | None,
    *,
    deployments: str | None = None,
    date_order: str | None = None,
) -> Desk:
    """What people shall decide on.

    Raises:
        InputError: both or none are given, or there is nothing in it.
    """
    if (catalogue is None) == (results is None):
        raise InputError(
            "give either --catalogue (of `reid identify`) or --results (output folder of `reid run`)"
        )
    if catalogue is not None:
        return CatalogueDesk(
            config, absolute(catalogue), deployments=deployments, date_order=date_order
        )
    from jobs.pages.run_desk import RunDesk

    return RunDesk(config, absolute(str(results)), deployments=deployments, date_order=date_order)


async def _run(app: web.Application, host: str, port: int, token: str) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        raise InputError(
            f"--host {host} --port {port}: cannot be served ({error.strerror}); --port 0 takes a free one"
        ) from error
    assert runner.addresses
    number = runner.addresses[0][1]
    shown = f"[{host}]" if ":" in host else host
    say("serve: Ctrl-C ends it. Open this address, and give it to nobody who shall not decide:")
    print_result(f"http://{shown}:{number}/{token}/")
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # not in the main thread
            loop.add_signal_handler(each, ended.set)
    try:
        await ended.wait()
    finally:
        await runner.cleanup()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
