"""Who did what: entries and their chain, and the thread that writes them."""
