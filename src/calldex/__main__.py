"""`python -m calldex` is the command `calldex`."""

from calldex.cli import main

main(prog_name="calldex")
