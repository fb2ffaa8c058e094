"""Results for other programs, and estimates from them: no Ray is needed."""
