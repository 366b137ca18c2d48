"""Runs the steps on the connection that `calldex.directory.database` hands over, inside its transaction.

Loaded by Alembic alone; importing it elsewhere fails.
"""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()
