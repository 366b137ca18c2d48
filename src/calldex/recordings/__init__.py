"""Recordings of calls: where their files lie, what is made of them, and those of a demo."""
