"""The one gate to a daemon's HTTP interface: its address, the login, time limits, and foreign errors becoming ours."""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
import urllib3
from requests.auth import HTTPBasicAuth
from requests.exceptions import ConnectTimeout, InvalidSchema, InvalidURL, MissingSchema, SSLError

from pgkeep.errors import ConfigError, Unavailable

from .answers import Misunderstood, failure_text

CONNECT_SECONDS = 10.0
STALL_SECONDS = 60.0
STALLED_AGAIN_SECONDS = 1.0
"""The patience with a daemon that has stalled once, until it answers again: it costs its time limit once."""
MAY_PASS = frozenset({408, 425, 429})
"""Client errors (RFC 9110, 8470, 6585) that say "not now" rather than "never"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a daemon listens. `url`: scheme, host and port; `login`, `password`: HTTP basic authentication.

    `written`: where people have written all that; None: in the connection of the peer's name.
    """

    url: str = field(repr=False)
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    written: str | None = None

    def __str__(self) -> str:
        """Host and port, for people: never what may stand before an @."""
        return urlsplit(self.url).netloc.rpartition("@")[2] or self.url.rpartition("@")[2]


class Door:
    """One daemon's HTTP interface. `stall`: seconds without any progress after which it is taken for dead.

    There is no limit on how long a request may take as long as bytes move. Proxies, netrc files and redirects are
    never followed: a password goes where the configuration says, and nowhere else.
    """

    def __init__(self, endpoint: Endpoint, *, kind: str, name: str | None, stall: float) -> None:
        self._name = f"the {kind} of {name} ({endpoint})" if name else f"the {kind} at {endpoint}"
        self.connection = endpoint.written or (f"connection {name}" if name else "the connection")
        self.kind = kind
        self.stall = stall
        self._url = endpoint.url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Accept-Encoding"] = "identity"
        if endpoint.login is not None:
            login, password = endpoint.login.encode(), (endpoint.password or "").encode()
            self._session.auth = HTTPBasicAuth(login, password)
        self._stalled = False
        self._limit = stall
        """Seconds without progress that the request under way may take."""

    def __str__(self) -> str:
        return self._name

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        body: Iterable[bytes] | None = None,
        content_type: str | None = None,
        expected: frozenset[int] = frozenset(),
    ) -> Iterator[requests.Response]:
        """One request; the response is open inside the `with`. `expected`: statuses that are answers, not errors.

        Raises Unavailable (no answer, no progress, cannot now) and ConfigError (login, address, another server). What
        goes wrong while the response is read inside the `with` is translated as well.
        """
        # The limit for connecting is also the one for each `send` of a body, so a body needs the patient one.
        stall = self._limit = STALLED_AGAIN_SECONDS if self._stalled else self.stall
        limits = (min(CONNECT_SECONDS, stall) if body is None else stall, stall)
        with (
            self._translated(),
            self._session.request(
                method,
                self._url + path,
                params=params,
                data=body,
                headers={"Content-Type": content_type} if content_type else None,
                timeout=limits,
                stream=True,
                allow_redirects=False,
            ) as response,
        ):
            self._stalled = False
            if not 200 <= response.status_code < 300 and response.status_code not in expected:
                self._refuse(response)
            yield response

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The gate: all that `requests` and urllib3 may raise becomes Unavailable or ConfigError here."""
        try:
            yield
        except (InvalidURL, MissingSchema, InvalidSchema) as error:
            raise ConfigError(
                f"the address of {self} is not one", next_step=f"write host and port into {self.connection}"
            ) from error
        except (Misunderstood, requests.JSONDecodeError) as error:
            raise ConfigError(
                f"{self} answers, but not as a {self.kind} does ({error})",
                next_step=f"check host and port in {self.connection}",
            ) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(
                f"{self} {self._reason(error)}",
                next_step=f"see that it runs and that {self.connection} has its address; then run it again",
            ) from error

    def _reason(self, error: Exception) -> str:
        causes = list(_causes(error))
        if any(isinstance(cause, socket.gaierror) for cause in causes):
            return "has a host name that nobody knows"
        if isinstance(error, SSLError):
            return "cannot be trusted, or does not speak TLS"
        for cause in causes:
            if isinstance(cause, OSError) and isinstance(cause.errno, int) and cause.errno > 0:
                return f"cannot be reached ({os.strerror(cause.errno)})"
        if isinstance(error, ConnectTimeout):
            return "does not answer"
        if any(isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError) for cause in causes):
            still = "still makes" if self._stalled else "made"
            self._stalled = True
            return f"{still} no progress for {self._limit:.0f} s"
        return "broke the connection off"

    def _refuse(self, response: requests.Response) -> None:
        status = response.status_code
        if 300 <= status < 400:
            raise self._wrong(f"sends us on to another address ({status})", "write its final address into")
        if status == 401:
            raise self._wrong("refuses our login", "correct login and password in")
        said = failure_text(next(response.iter_content(4096), b""))
        if status == 403:
            raise self._wrong(f"does not let us in: {said}", "let this machine in there, or correct the login in")
        if status in (404, 405):
            raise self._wrong(f"is no {self.kind}: it does not know what was asked", "correct host and port in")
        if 400 <= status < 500 and status not in MAY_PASS:
            raise self._wrong(f"does not accept the request ({status}: {said})", "check the address in")
        raise Unavailable(
            f"{self} cannot do it now ({status}: {said})",
            next_step=f"see the log of that daemon, and {self.connection}; then run it again",
        )

    def _wrong(self, what: str, correct: str) -> ConfigError:
        return ConfigError(f"{self} {what}", next_step=f"{correct} {self.connection}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all it was made of: requests and urllib3 keep the cause as argument, as `reason` or as context."""
    seen, waiting = set[int](), [error]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            parts = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
            waiting.extend(part for part in parts if isinstance(part, BaseException))
