"""What sessions leave, and all that is made of it.

`records` declares what a run folder holds, `store` reads the folders, and `trials` says of each
test in each session what it was, how it ended and what it recorded. From these trials the `gate`
decides whether a release is safe, the `matrix` shows which version has which race, `allure` draws
the report of all tests, and the `dashboard` puts everything on one front page. `timeline` draws a
single history, `metrics` and `performance` measure it, `statistics` says what numbers prove.
`campaigns` alone runs sessions: it puts one question to many versions, and reads the answer from
their folders.
"""
