"""What a run has learned, as a page for people: read from the run folder, drawn, written beside the numbers."""
