"""The explorer: finds races that nobody knows, and says how likely it would have found them.

`points` says where processes stop; `controller` lets one past at a time, inside the metadata
database; a strategy of `strategies` chooses which; `coverage` remembers what orders were seen;
`plan` draws what a round does, `rounds` performs it, and `explorer` has rounds judged, batch by
batch, and keeps what broke a promise as a `schedule`: a file that is replayed and shrunk
(`replay`), and told as a scenario (`explain`); `results` says where all of it goes.
`python -m explore --help` has the commands.
"""
