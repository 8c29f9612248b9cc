"""Connections over HTTP that trust no server: where it redirects to, when it answers.

urllib follows redirects to ftp and to plain text, reads without end what stands in a
redirect, and waits for ever for a server that sends something now and then.
"""

import functools
import http.client
import io
import string
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping

from iin_jax.files.hints import short

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 10
SHOWN = 200  # most characters of what a server has sent in a message


class RefusedError(Exception):
    """An address that is not opened; says why, in one line."""


def check_address(url: str) -> None:
    """Raises ValueError unless it is an address of http or https with a host."""
    try:
        parts = urllib.parse.urlsplit(url)
        named = parts.hostname and parts.port != 0
    except ValueError as error:
        raise ValueError(f"{url!r} is no address: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"weights come by http or https, not from {url!r}")
    if not named:
        raise ValueError(f"{url!r} is no address: it names no host")


def open_address(
    url: str, headers: Mapping[str, str], timeout: float, check: Callable[[], None]
) -> http.client.HTTPResponse:
    """A server's answer to a GET, after redirects.

    Args:
      url: http or https.
      headers: of the request.
      timeout: seconds without a byte.
      check: called before every read of the connection; what it raises ends it.

    Raises:
      RefusedError: a redirect to anything but http or https, from https to plain text,
        or after ``MOST_REDIRECTS`` others; an address that makes no sense.
      urllib.error.HTTPError: an answer that is no success, closed already.
      OSError, http.client.HTTPException: no answer.
    """
    opener, address = _opener(check), url
    for _ in range(MOST_REDIRECTS + 1):
        try:
            request = urllib.request.Request(address, headers=dict(headers))
            return opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            error.close()
            place = error.headers.get("Location")
            if error.code not in REDIRECTS or place is None:
                raise
            address = _redirected(address, place)
        except (ValueError, http.client.InvalidURL) as error:  # UnicodeError is one
            raise RefusedError(
                f"{one_line(address)} is no address: {one_line(error)}"
            ) from error
    raise RefusedError(
        f"the server redirects more than {MOST_REDIRECTS} times, last to "
        f"{one_line(address)}"
    )


def one_line(text: object) -> str:
    """What a server has sent, for a message: one line of printable characters."""
    words = " ".join(str(text).split())
    return short("".join(c if c.isprintable() else "?" for c in words), SHOWN)


def _redirected(address: str, place: str) -> str:
    """The address that a redirect names, relative to the one that was asked."""
    try:
        place = urllib.parse.quote(place, safe=string.punctuation, encoding="latin-1")
        target = urllib.parse.urljoin(address, place)
        check_address(target)
    except ValueError as error:
        raise RefusedError(f"the server redirects: {one_line(error)}") from error
    if address.startswith("https:") and not target.startswith("https:"):
        raise RefusedError(
            f"the server redirects from https to plain text: {one_line(target)}"
        )
    return target


def _opener(check: Callable[[], None]) -> urllib.request.OpenerDirector:
    """An opener of http and https alone, which follows no redirects."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(check),
        _Https(check),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _Http(urllib.request.HTTPHandler):
    def __init__(self, check: Callable[[], None]):
        super().__init__()
        self._checked = functools.partial(_checked, http.client.HTTPConnection, check)

    def http_open(self, req: urllib.request.Request):
        return self.do_open(self._checked, req)  # pyright: ignore[reportArgumentType]


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, check: Callable[[], None]):
        super().__init__()
        self._checked = functools.partial(_checked, http.client.HTTPSConnection, check)

    def https_open(self, req: urllib.request.Request):
        return self.do_open(self._checked, req)  # pyright: ignore[reportArgumentType]


def _checked(
    kind: type[http.client.HTTPConnection],
    check: Callable[[], None],
    host: str,
    **options,
) -> http.client.HTTPConnection:
    """A connection whose answers are read with checks."""
    connection = kind(host, **options)
    response = functools.partial(_CheckedResponse, check)
    connection.response_class = response  # pyright: ignore[reportAttributeAccessIssue]
    return connection


class _CheckedResponse(http.client.HTTPResponse):
    """An answer that is checked at every read, from its first line on."""

    def __init__(self, check: Callable[[], None], sock, *arguments, **options):
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_CheckedReads(self.fp.detach(), check))


class _CheckedReads(io.RawIOBase):
    """A stream that calls before it reads."""

    def __init__(self, raw, check: Callable[[], None]):
        self._raw, self._check = raw, check

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int | None:
        self._check()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
