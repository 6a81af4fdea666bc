"""Which violation to show first, and which of its events tell it: the oracle's own choice."""

from dataclasses import dataclass

from common.redaction import redact
from oracle.events import Event
from oracle.memory import Story
from oracle.prose import Narrator
from oracle.verdict import Judgement
from oracle.witness import piece_of, rank, weight

STEPS = 13
"""Steps of a picture; more of them would be too small to read."""


@dataclass(frozen=True)
class Step:
    """One event of a witness in words; `broke` names the promises that it broke."""

    event: Event
    who: str
    what: str
    broke: tuple[str, ...]


def chosen(judgement: Judgement) -> Story | None:
    """Return the story that the witness tells; None if no task instance has a violation."""
    return min(judgement.stories, key=weight, default=None)


def steps(story: Story) -> list[Step]:
    """Return the steps that lead to the broken promise, the lesser ones left out if need be."""
    narrator = Narrator()
    told = [(event, narrator.text(event)) for event in piece_of(story)]
    acts = [(event, *words) for event, words in told if words is not None]
    last = {violation.t: -1 for violation in story.violations}
    for place, (event, _, _) in enumerate(acts):
        if event.t in last:
            last[event.t] = place
    found = [
        Step(event, who, redact(what), _broken(story, event) if place in last.values() else ())
        for place, (event, who, what) in enumerate(acts)
    ]
    order = sorted(range(len(found)), key=lambda i: (not found[i].broke, rank(found[i].event), i))
    return [found[place] for place in sorted(order[:STEPS])]


def _broken(story: Story, event: Event) -> tuple[str, ...]:
    return tuple(dict.fromkeys(v.invariant for v in story.violations if v.t == event.t))
