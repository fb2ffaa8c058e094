"""Re-identification of animals: from images to individuals. Imports no Ray."""

__version__ = "0.1.0"
