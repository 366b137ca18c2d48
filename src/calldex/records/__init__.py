"""What a record is: its members, the table of its fields and filters, and its stored JSON. Imports nothing above it."""
