"""What somebody may have meant who wrote a word that there is not."""

from collections.abc import Iterable
from difflib import get_close_matches

LIKE = 0.6
"""How like two words must be, from 0 to 1, for one to be a slip of the other."""


def nearest(word: str, there: Iterable[str], like: float = LIKE) -> str:
    """Return which of the words that there are is nearest to another; empty where none is near."""
    return next(iter(get_close_matches(word, list(there), 1, like)), "")


def did_you_mean(word: str, there: Iterable[str], otherwise: str = "", like: float = LIKE) -> str:
    """Ask whether the nearest of the words that there are was meant; where none is, `otherwise`."""
    near = nearest(word, there, like)
    return f"Did you mean {near}?" if near else otherwise
