"""A catalogue that grows: an upload identified, thresholds learned, decisions of people, history."""
