"""How records come in: batches, the quarantine, calls made of rows, and the processes that read large streams."""
