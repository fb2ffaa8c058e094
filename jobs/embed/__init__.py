"""Annotations → embeddings: the driver, and the actor that reads, decodes and embeds."""
