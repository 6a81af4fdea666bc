"""The ground floor: what every other package may use, and that uses none of them.

`errors` has the one exception that people read, `nearest` what they may have meant; `pipe` is how
our command lines end. `files` writes whole or not at all, makes a thing once under a lock, and
reads what a log ends with. `waiting` is every wait: until, deadlines, at most every so often.
`interrupts` keeps one from cutting short what must be whole. `spawn` starts processes that cannot
outlive their lab; `paths` says where things are kept.

`redaction` hides secrets in whatever is written down, and `documents` in Helm values and manifests:

    secret_names (what is called so) -> secret_settings, secret_urls -> secret_forms -> redaction
                                                  secret_prints (a worker's log) ---^      |
                                                                                documents <-'
"""
