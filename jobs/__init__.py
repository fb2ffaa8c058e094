"""The distributed jobs and the `reid` command: the only code that imports Ray."""
