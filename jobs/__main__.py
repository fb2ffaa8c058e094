"""`python -m jobs NAME …` is `reid NAME …`: the one entry for `ray job submit`."""

from jobs.cli import main

main()
