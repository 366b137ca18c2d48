"""What is made in the background, for who does not wait: exports, now and every night."""
