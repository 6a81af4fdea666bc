"""Who we are to an API server, as plain data."""

import base64
import binascii
import math
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError

FOREVER = math.inf


@dataclass(frozen=True)
class Identity:
    """Credentials: the header Authorization, and a client certificate with its key, in PEM.

    Either may be empty. After `until`, in Unix seconds, they are to be read again.
    """

    authorization: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    until: float = FOREVER


def pem(data: str, path: str, name: str) -> str:
    """Return what an entry of a kubeconfig gives inline, in base64, or by a path.

    Raises UserError, without the data.
    """
    try:
        if data:
            return base64.b64decode(data, validate=False).decode()
        return Path(path).read_text()
    except (binascii.Error, ValueError):
        raise UserError(f"The kubeconfig's {name} is not a certificate or key in PEM.") from None
    except OSError as error:
        raise UserError(
            f"The kubeconfig's {name} {path} cannot be read: {error.strerror}.",
            "Log in again, as for kubectl.",
        ) from None
