"""The HTTP surface: where requests become calls of the layers below, and what they return becomes replies.

The last station of a record on its way out, and for records that are posted the first on their way in. Nothing but
`cli` imports it; it decides nothing that `access`, `query` and `page` decide.
"""
