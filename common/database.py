"""Which database a command is about: its address is in the environment, for it holds a password."""

import os
import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

from common.errors import UserError

DSN_VARIABLE = "HA_CHAOS_DSN"

_DRIVER = re.compile(r"^(postgres(?:ql)?)\+\w+://")


def conninfo_of(text: str) -> str:
    """Return what libpq can read of `DSN_VARIABLE`; SQLAlchemy's URLs name a driver, too.

    Raises UserError, without any part of the text: it holds a password.
    """
    if not text:
        raise UserError(f"{DSN_VARIABLE} is not set.", "It names the database.")
    text = _DRIVER.sub(r"\1://", text)
    try:
        conninfo_to_dict(text)
    except psycopg.Error:
        raise UserError(
            f"{DSN_VARIABLE} cannot be read.",
            "Give postgresql://USER:PASSWORD@HOST/DATABASE with /, #, ? and @ of the password "
            "escaped (%2F ..), or libpq's conninfo.",
        ) from None
    return text


def dsn() -> str:
    """Return the libpq conninfo of the database that the environment names. Raises UserError."""
    return conninfo_of(os.environ.get(DSN_VARIABLE, ""))
