"""Hides secrets in whatever is written down: histories, witnesses, kept logs."""

import re

CUT = 300
"""Characters; a log's text goes no longer than this into a history."""

_SECRETS = (
    (re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]+)*"), "***"),
    (re.compile(r"://[^\s/@]+@"), "://***@"),
    (
        re.compile(
            r"""(?i)\b(\w*(?:password|passwd|secret|token|authorization))(['"]?\s*[=:]\s*)"""
            r"""(?:bearer\s+)?(?:'[^']*'|"[^"]*"|[^\s,;'")]+)"""
        ),
        r"\1\2***",
    ),
)


def redact(text: str) -> str:
    """Hide tokens, passwords and URLs' credentials in `text`."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def excerpt(text: str, limit: int = CUT) -> str:
    """Hide secrets and cut the text to `limit` characters."""
    text = redact(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
