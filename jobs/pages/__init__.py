"""Individuals as pages: a book on disk, and a server on which people decide."""
