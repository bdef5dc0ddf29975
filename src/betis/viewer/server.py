"""The server of the page: on this machine only, for its own page only."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.web import ErrorHandler

from betis.errors import ConfigError
from betis.viewer.document import Viewer
from betis.viewer.opened import OpenedRun, open_run, stamp_of

__all__ = ["ADDRESS", "make_server", "view_run"]

ADDRESS = "127.0.0.1"
_NAMES = (ADDRESS, "localhost")


class _LocalTornado(BokehTornado):  # type: ignore[misc]  # bokeh's annotations are not read
    """Answers only to its own names: a page of elsewhere that resolves to here gets nothing."""

    hosts: frozenset[str] = frozenset()

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        if request.host not in self.hosts:
            return self.get_handler_delegate(request, ErrorHandler, {"status_code": 403})
        return super().find_handler(request, **kwargs)


class _Current:
    """The run as it is now: opened again when its products were written anew."""

    def __init__(self, run: OpenedRun) -> None:
        self._run = run

    def get(self) -> OpenedRun:
        if stamp_of(self._run.path) != self._run.stamp:
            self._run = open_run(self._run.path)
        return self._run


def make_server(run: OpenedRun, port: int) -> tuple[BaseServer, str]:
    """Return a server of a run that is not started yet, and its address.

    Parameters
    ----------
    run
        The run.
    port
        To listen on; 0 for any that is free.

    Raises
    ------
    ConfigError
        Where the port is taken, or may not be used.
    """
    try:
        listening = socket.create_server((ADDRESS, port))
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"the port {port} cannot be listened on ({error}); choose another with --port, or 0 "
            "for any that is free"
        ) from error
    listening.setblocking(False)
    bound = int(listening.getsockname()[1])
    current = _Current(run)

    def fill(document: Document) -> None:
        Viewer(current.get(), document)

    hosts = frozenset(f"{name}:{bound}" for name in _NAMES)
    tornado = _LocalTornado(
        {"/": Application(FunctionHandler(fill))},
        extra_websocket_origins=sorted(hosts),
        # Arrays go whole in one message: a map of a large field is some megabytes.
        websocket_max_message_size_bytes=1 << 28,
    )
    tornado.hosts = hosts
    http = HTTPServer(tornado)
    http.add_socket(listening)
    return BaseServer(IOLoop.current(), tornado, http), f"http://{ADDRESS}:{bound}/"


def view_run(path: Path, *, port: int, browser: bool, say: Callable[[str], Any]) -> None:
    """Serve a page on a run until it is interrupted.

    Parameters
    ----------
    path
        Of the run folder; nothing in it is changed.
    port
        To listen on; 0 for any that is free.
    browser
        Whether to open the page in the reader's browser.
    say
        Told where the page is.

    Raises
    ------
    RunFolderError, InputError
        Where there is no run to show, or a file is damaged.
    ConfigError
        Where the port cannot be listened on.
    """
    server, address = make_server(open_run(path), port)
    say(f"{path} is shown at {address} (Ctrl-C stops it)")
    server.start()
    if browser:
        server.io_loop.add_callback(webbrowser.open, address)
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        say("stopped")
    finally:
        server.stop(wait=False)
        server.unlisten()
