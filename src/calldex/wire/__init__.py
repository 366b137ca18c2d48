"""The shapes in which records leave, one module for each version of the API. Pure; no I/O."""
