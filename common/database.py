"""Which database a command is about: its address is in the environment, for it holds a password."""

import os
import re

import psycopg
from psycopg.conninfo import conninfo_to_dict

from common.errors import UserError

DSN_VARIABLE = "HA_CHAOS_DSN"

_DRIVER = re.compile(r"^(postgres(?:ql)?)\+\w+://")


def dsn() -> str:
    """Return the libpq conninfo of the database that the environment names.

    SQLAlchemy's URLs name a driver, too. Raises UserError, without any part of the variable's text:
    it holds a password.
    """
    text = _DRIVER.sub(r"\1://", os.environ.get(DSN_VARIABLE, ""))
    if not text:
        raise UserError(f"{DSN_VARIABLE} is not set.", "It names the database.")
    try:
        conninfo_to_dict(text)
    except psycopg.Error:
        raise UserError(
            f"{DSN_VARIABLE} cannot be read.",
            "Give postgresql://USER:PASSWORD@HOST/DATABASE with /, #, ? and @ of the password "
            "escaped (%2F ..), or libpq's conninfo.",
        ) from None
    return text
