"""Run sets about the suite's own teeth, about speed, and about bad policies."""

from dataclasses import replace

from tests.reports.gate.builder import FAN_OUT, KILL, QUIET, START, TEETH, TWICE, night
from tests.reports.gate.policies import PLAIN, SPEED, acceptance, policy
from tests.reports.gate.run_sets import DOUBLE, Gated, good, session, speeds, then
from tests.reports.gate.sets_safety import SET

CLEAN = night(start=replace(START, affected=True))
"""A whole session of a known-bad release in which nothing shows."""

ORACLE_HEALTH = (
    Gated(
        "known-bad-not-caught",
        2,
        then(
            lambda runs: runs.teeth([replace(case, affected=True) for case in (START, FAN_OUT)]),
            session(),
        ),
        "lost its teeth",
    ),
    Gated(
        "known-bad-half-caught",
        2,
        then(lambda runs: runs.teeth([TEETH[0], replace(FAN_OUT, affected=True)]), session()),
        "test_held[57618-fan-out-embedded-3.0.6]",
    ),
    Gated(
        "known-bad-shows-something-else",
        2,
        then(lambda runs: runs.teeth([TEETH[0].broken(DOUBLE)]), session()),
        "showed executed-once",
    ),
    Gated(
        "known-bad-wheel-caught",
        0,
        then(
            lambda runs: runs.session(TEETH, "my-wheel", version="3.0.6", expect_known=True),
            session(),
        ),
    ),
    Gated(
        "patched-build-of-a-known-bad-release-is-clean",
        0,
        then(good, lambda runs: runs.session(CLEAN, "patched", version="3.0.6")),
    ),
    Gated(
        "known-bad-release-is-clean-without-expect-known",
        2,
        then(good, lambda runs: runs.session(CLEAN, "3.1.8")),
        "lost its teeth",
    ),
    Gated(
        "known-bad-not-caught-where-it-need-not-show",
        0,
        then(lambda runs: runs.teeth([*TEETH, replace(QUIET, affected=True)]), session()),
    ),
    Gated("known-bad-missing", 2, session(), "-k 57618 --expect-known --airflow 3.1."),
    Gated(
        "known-bad-only-skipped",
        2,
        then(lambda runs: runs.teeth([case.skipped() for case in TEETH]), session()),
        "no known-bad release",
    ),
    Gated(
        "teeth-lost-since",
        2,
        then(good, lambda runs: runs.teeth([replace(START, affected=True)])),
        "lost its teeth",
    ),
    Gated(
        "known-bad-with-other-violations", 0, then(good, lambda r: r.teeth([KILL.broken(TWICE)]))
    ),
)

PERFORMANCE = (
    Gated("slow-against-a-build-that-is-no-release", 0, speeds(3.0, base="my-wheel")),
    Gated(
        "slow-only-where-a-promise-was-broken",
        0,
        speeds(3.0, quiet=QUIET.broken(DOUBLE)),
        "",
        policy(acceptance("invariants: [executed-once]\n      tests: '*flood_without_chaos*'")),
    ),
    Gated("slow", 1, speeds(3.0), "slower beyond doubt"),
    Gated("slow-by-settings-of-ones-own", 0, speeds(3.0, settings=SET)),
    Gated("slow-within-noise", 0, speeds(1.05)),
    Gated("undecided", 0, speeds(1.27)),
    Gated(
        "undecided-and-unknown",
        2,
        speeds(1.27),
        "undecided",
        policy(end=f"{SPEED}  undecided: unknown\n"),
    ),
    Gated("faster", 0, speeds(0.4)),
    Gated("slow-but-too-few-runs", 0, speeds(3.0, runs_each=1)),
    Gated("no-baseline", 0, good),
    Gated(
        "no-baseline-where-one-is-required",
        2,
        good,
        "not compared",
        policy(end=f"{SPEED}  required: true\n"),
    ),
    Gated("slow-against-another", 1, speeds(3.0), "Airflow 3.2.0", options=("--against", "3.2.0")),
)

BAD_POLICY = (
    Gated("policy-with-an-unknown-key", 2, good, policy=PLAIN + "  tolerence: 3\n"),
    Gated("policy-without-an-end", 2, good, policy=policy(acceptance("scenario: x", until="~"))),
)
