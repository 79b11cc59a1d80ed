"""Runs beside each other: what differs in them, what they scored, and whether that difference is more than chance."""
