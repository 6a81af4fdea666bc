"""A toy whose races are known: threads of named steps that a strategy orders."""

from collections.abc import Callable, Mapping, Sequence

from explore.controller import Rest, Standing
from explore.coverage import Coverage
from explore.points import Footprint, Statement
from explore.strategies import Strategy

SHARED = Footprint(frozenset({"t"}), frozenset({"t"}))


def run(
    threads: Mapping[str, Sequence[str]],
    strategy: Strategy,
    coverage: Coverage | None = None,
    blocks: Callable[[str, str], Sequence[str]] = lambda *_: (),
) -> list[tuple[str, str]]:
    """Run threads to their ends; return the order of their steps."""
    at = dict.fromkeys(threads, 0)
    done: list[tuple[str, str]] = []
    tickets = {name: number for number, name in enumerate(threads)}
    looks = 0
    if coverage:
        coverage.begin()
    while standing := [
        Standing(tickets[name], number, name, Statement(steps[at[name]], SHARED),
                 tuple(blocks(name, steps[at[name]])))
        for number, (name, steps) in enumerate(threads.items()) if at[name] < len(steps)
    ]:  # fmt: skip
        chosen = strategy.choose(standing)
        if chosen is None:
            looks += 1
            assert looks < 1000, "nobody is let past any more"
            continue
        done.append((chosen.process, chosen.point))
        at[chosen.process] += 1
        tickets[chosen.process] += 10
        if coverage:
            coverage.passed(chosen)
        strategy.rested(chosen, Rest("arrived", 0.0, ()))
    return done
