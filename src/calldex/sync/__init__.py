"""`calldex sync`: keeps copies of records up to date, elsewhere. An extra: `pip install "calldex[sync]"`.

A pipe reads an endpoint of the contract (`reading`) and gives what changed, in batches and in order, to a destination
(`destinations`); the runner (`runner`) keeps the place up to which that is done. `config` is the file that says what
goes where; `state` what is kept beside it. Nothing here knows the server: it is read with `calldex.client`, as any
other program would.
"""
