"""From parameters to a page: the query, the search token, and pages. Knows a store only by its protocol."""
