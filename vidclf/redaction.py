"""What must not be read in a message: passwords in addresses, signatures, tokens."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

#: ``scheme://user:password@`` of an address
USERINFO = re.compile(r"(?<=://)[^/?#\s'\"]*@")
#: the values of query parameters that open doors, as in a presigned address
SIGNED = re.compile(
    r"(?i)([?&;](?:[\w-]*(?:token|key|sig|sign|signature|secret|password|credential|auth)[\w-]*))=[^&#\s'\"]+"
)


def scrubbed(text: str) -> str:
    """``text`` without the secrets that addresses carry, and without those of ``$VIDCLF_PROXY`` in any form."""
    for secret in _proxy_secrets():
        text = text.replace(secret, "***")
    return SIGNED.sub(r"\1=***", USERINFO.sub("***@", text))


def shown(url: str) -> str:
    """An address for a message: without user, password, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _proxy_secrets() -> list[str]:
    """``user:password`` and ``password`` of the proxy as they are written and as they are meant, longest first."""
    given = os.environ.get("VIDCLF_PROXY", "")
    userinfo = given.partition("://")[2].rpartition("@")[0] or given.rpartition("@")[0]
    password = userinfo.partition(":")[2]
    written = [userinfo, unquote(userinfo), password, unquote(password)]
    # a password of one or two letters would blank half of every message, and is one already
    return sorted({secret for secret in written if len(secret) > 2}, key=len, reverse=True)
