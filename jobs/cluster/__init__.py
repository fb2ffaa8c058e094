"""Embeddings → individuals, figures and the report."""
