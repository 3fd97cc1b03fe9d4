"""pgkeep in Airflow's UI: the page "Backups" in the menu Browse.

Every Airflow process loads plugins, every task too; only the api-server shows pages. So the page is imported by the
first request for it.
"""

import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[..., Awaitable[Any]], Callable[..., Awaitable[None]]], Awaitable[None]]


class LazyPage:
    """The page as an ASGI application that comes into being when it is asked for."""

    def __init__(self) -> None:
        self._app: App | None = None
        self._lock = threading.Lock()

    async def __call__(
        self, scope: Scope, receive: Callable[..., Awaitable[Any]], send: Callable[..., Awaitable[None]]
    ) -> None:
        await self._made()(scope, receive, send)

    def _made(self) -> App:
        with self._lock:
            if self._app is None:
                from pgkeep.airflow.page import create_app

                self._app = create_app()
            return self._app


class PgkeepPlugin(AirflowPlugin):
    """What Airflow registers."""

    name = "pgkeep"
    fastapi_apps = [{"app": LazyPage(), "url_prefix": "/pgkeep", "name": "pgkeep"}]  # noqa: RUF012 - Airflow's form
    external_views = [  # noqa: RUF012
        {"name": "Backups", "href": "/pgkeep/", "destination": "nav", "category": "browse", "url_route": "backups"}
    ]
