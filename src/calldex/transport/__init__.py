"""HTTP itself: connections, limits, parameters, replies. Knows no route, and nothing of what a record is."""
