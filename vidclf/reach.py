"""Whether a server answers, asked with the standard library alone: it costs milliseconds, and imports no client."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

SECONDS = 5.0

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy between us and this machine
_usual = urllib.request.build_opener()


class Unanswered(Exception):
    """What happened instead, as the rest of a sentence that begins with the server's name."""


def require_answer(url: str, seconds: float = SECONDS) -> bytes:
    """The body of what a GET of ``url`` is answered with; a refusal (401, 403, 404) is an answer too, without a body.

    Raises:
        Unanswered: nobody is there, it takes too long, or it answers that it cannot (5xx).
    """
    opener = _direct if urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1") else _usual
    try:
        with opener.open(url, timeout=seconds) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= 500:
            raise Unanswered(f"answers {error.code} ({error.reason})") from None
        return b""
    except TimeoutError:
        raise Unanswered(f"does not answer within {seconds:g} s") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise Unanswered(f"does not answer within {seconds:g} s") from None
        raise Unanswered(f"does not answer ({getattr(error.reason, 'strerror', None) or error.reason})") from None
    except (OSError, ValueError) as error:  # a broken connection, an address that is none
        raise Unanswered(f"does not answer ({getattr(error, 'strerror', None) or error})") from None


def read_json(url: str, seconds: float = SECONDS) -> Any:
    """The JSON that a GET of ``url`` is answered with.

    Raises:
        Unanswered: as ``require_answer``, or it is no JSON.
    """
    body = require_answer(url, seconds)
    try:
        return json.loads(body)
    except ValueError:
        raise Unanswered("answers something else than expected") from None
