"""What the destinations that are CRMs have in common: a record becomes a call (`call`), requests keep a vendor's limits
(`http`), and `base` does the rest. A CRM is one file of `destinations` on top of it."""
