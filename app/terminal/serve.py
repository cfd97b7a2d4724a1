"""`caducee serve` runs the web workers and supervises the scheduler; `caducee scheduler` runs only the scheduler."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Annotated

import structlog
import typer

from app.actions.keep_time import keep_time_or_alert
from app.actions.sweep import sweep
from app.db.errors import DatabaseUnavailable, SchemaOutdated
from app.domain.audience import Audience
from app.domain.network_address import in_url, parse_address
from app.lifecycle.rollback import require_not_rolled_back
from app.runtime.hand_over import hand_over, hand_over_for_network
from app.runtime.installation import NoInstallation, open_database_only, require_installation
from app.runtime.last_seen import shared_by_workers
from app.runtime.listening import BACKLOG, bind, close, listen
from app.runtime.separate_users import require_network_user, require_scheduler_user
from app.runtime.settings import Settings
from app.storage.own_entries import OwnEntries
from app.terminal.opened import opened

RESTART_SECONDS = 1.0
STOP_SECONDS = 20
SET_UP_SECONDS = 30
CONNECTIONS = 1_000
DEFAULT_PORT = 8_000
DEFAULT_WORKERS = min(os.cpu_count() or 1, 4)
WORKER_SILENCE_SECONDS = 30
"""An unresponsive worker is replaced after this time. Uvicorn's default, 5 s, would abort uploads on a busy machine."""


NOT_STARTED = "the web workers did not start; see the log"

log = structlog.get_logger()


class CannotServe(Exception):
    """The web workers could not start, or one failed during startup."""


def serve(
    *,
    host: Annotated[
        str, typer.Option(help="Address or name to listen on; :: is every address, IPv4 and IPv6.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65535, default_factory=_default_port, show_default="CADUCEE_PORT, or 8000")
    ],
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Web processes.", show_default="one per core, 4 at most")
    ] = DEFAULT_WORKERS,
    audience: Annotated[Audience, typer.Option(help="Serve only recipients, or only staff.")] = Audience.ALL,
    no_scheduler: Annotated[
        bool, typer.Option("--no-scheduler", help="Do not run the scheduler: it runs elsewhere.")
    ] = False,
    welcome: Annotated[
        bool, typer.Option("--welcome", help="Create a staff token for one day and print an example.")
    ] = False,
) -> None:
    """Run the service, and the scheduler with it. Initialises an empty data folder."""
    settings = _settings_for(host, port, audience)
    bound = bind(host, port)
    try:
        hand_over_for_network(settings)
        if settings.separate_users:
            no_scheduler = True  # this user could not do its work
            _wait_for_installation(settings)
            require_network_user(settings)
        with opened(create=not settings.separate_users) as resources:
            require_not_rolled_back(resources)
            if not no_scheduler:  # deposits require a sweep; transfers that expired during the downtime end now
                asyncio.run(sweep(resources, assured=keep_time_or_alert(resources)))
        listen(bound, host)
        _run(bound, workers=workers, scheduled=not no_scheduler, welcome=welcome)
    finally:
        close(bound)


def _default_port() -> int:
    """Return CADUCEE_PORT, unless it is the URL that Kubernetes puts there for a service named caducee."""
    given = os.environ.get("CADUCEE_PORT", "")
    if not given or "://" in given:
        return DEFAULT_PORT
    if not (given.isascii() and given.isdecimal() and len(given) <= 5 and 0 < int(given) <= 65_535):
        raise typer.BadParameter("CADUCEE_PORT is not a port from 1 to 65535")
    return int(given)


def _settings_for(host: str, port: int, audience: Audience) -> Settings:
    """Return the settings as the workers will read them, with `host` and `port` in the public URL if none is set."""
    settings = Settings()
    if "public_url" not in settings.model_fields_set:
        given = parse_address(host)
        local = str(given) if given is not None and given.is_loopback else "127.0.0.1"
        os.environ["CADUCEE_PUBLIC_URL"] = f"http://{in_url(local)}:{port}"
    os.environ["CADUCEE_SERVE_AUDIENCE"] = audience.value
    os.environ["CADUCEE_SERVE_PID"] = str(os.getpid())
    return Settings()


def _run(bound: list[socket.socket], *, workers: int, scheduled: bool, welcome: bool) -> None:
    """Run the workers, the scheduler beside them if `scheduled`, until they are told to stop."""
    stop = threading.Event()
    if welcome:
        from app.terminal.welcome import welcome_when_ready  # no other command needs an HTTP client

        threading.Thread(target=welcome_when_ready, args=(stop,), daemon=True).start()
    # Uvicorn raises the signal again once it has shut down; as an exception it lets the scheduler be stopped too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    supervisor = threading.Thread(target=_keep_scheduler, args=(stop,))
    if scheduled:
        supervisor.start()
    try:
        with shared_by_workers():
            _serve_the_web(bound, workers)
    finally:
        stop.set()
        if scheduled:
            supervisor.join(STOP_SECONDS)


def _wait_for_installation(settings: Settings) -> None:
    """Wait until the scheduler's user has set up the installation: service managers start both services at once.
    Raises the last NoInstallation, DatabaseUnavailable or SchemaOutdated after SET_UP_SECONDS.
    """
    give_up_at = time.monotonic() + SET_UP_SECONDS
    while True:
        try:
            _require_set_up(settings)
        except (NoInstallation, DatabaseUnavailable, SchemaOutdated):
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(0.5)
        else:
            return


def _require_set_up(settings: Settings) -> None:
    open_database_only(settings).close()
    if OwnEntries(settings.signing_dir).beginning() is None:
        raise NoInstallation("the scheduler has not set this installation up for separate users")


def _serve_the_web(bound: list[socket.socket], workers: int) -> None:
    """Run uvicorn on these sockets. Raises CannotServe instead of exiting with uvicorn's own exit codes."""
    from uvicorn import Config, Server  # no other command needs a web server
    from uvicorn.config import STARTUP_FAILURE

    from app.web import large_bodies
    from app.web.workers import Workers

    large_bodies.report_if_aside()
    config = Config(
        "app.main:serve_app",
        factory=True,
        workers=workers,
        backlog=BACKLOG,
        loop="asyncio",
        http="app.web.server:PromptProtocol",  # by name: other commands need not load the web
        ws="none",
        lifespan="on",
        access_log=False,  # it would log paths, and a path may hold a file name
        log_config=None,
        server_header=False,
        proxy_headers=False,  # client addresses are read from listed proxies only (app/web/guard.py)
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_worker_healthcheck=WORKER_SILENCE_SECONDS,
    )
    log.info("listening", addresses=[f"{in_url(name[0])}:{name[1]}" for name in (s.getsockname() for s in bound)])
    try:
        if workers > 1:
            parent = Workers(config, bound)
            parent.run()
            if any(worker.exitcode == STARTUP_FAILURE for worker in parent.processes):
                raise CannotServe(NOT_STARTED)
        else:
            server = Server(config)
            with suppress(KeyboardInterrupt):
                server.run(bound)
            if not server.started:
                raise CannotServe(NOT_STARTED)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise CannotServe(NOT_STARTED) from None
        raise


def scheduler() -> None:
    """Run only the scheduler: it ends expired transfers, deletes them, and signs the log."""
    settings = Settings()
    hand_over(settings)
    require_scheduler_user(settings)
    if not settings.separate_users:  # otherwise the scheduler makes the installation, and `serve` waits for it
        require_installation(settings)
    os.execv(sys.executable, [sys.executable, "-m", "scheduler"])  # noqa: S606 - this program's own module


def _keep_scheduler(stop: threading.Event) -> None:
    """Start the scheduler, and restart it whenever it exits, until `stop` is set."""
    while not stop.is_set():
        child = subprocess.Popen([sys.executable, "-m", "scheduler", str(os.getpid())])  # noqa: S603 - our own module
        while child.poll() is None and not stop.wait(0.2):
            pass
        if stop.is_set():
            child.terminate()
            child.wait()
            return
        log.error("scheduler_ended", code=child.returncode, alert=True)
        stop.wait(RESTART_SECONDS)
