"""`python -m stepout.cli`."""

from stepout.cli.main import main

main()
