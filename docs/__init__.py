"""The documentation, and the program that writes its generated part; no part of what is installed."""
