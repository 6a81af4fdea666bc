"""The explorer: finds races that nobody knows, and says how likely it would have found them.

`points` says where processes stop; `controller` lets one past at a time, inside the metadata
database, and `requests` at the Kubernetes API too; a strategy of `strategies` chooses which
(or one of `following`, as a schedule says);
`coverage` remembers what orders were seen; `plan` draws what a round does, `rounds` performs it,
with `moves` that strike processes and make `heartbeats` late, and `explorer` has rounds judged,
batch by batch, and keeps what broke a promise as a `schedule`: a file that is replayed and shrunk
(`replay`), and told as a scenario (`explain`); `results` says where all of it goes, `memory` what
was done so far, and `salvage` keeps what a killed exploration had found.
`python -m explore --help` has the commands.
"""
