"""What changed of inbound calls since this ran last, a page a file."""

import json
from pathlib import Path

from calldex.client import Client

folder = Path("changes")
folder.mkdir(exist_ok=True)
state = folder / "next"
n, cursor = json.loads(state.read_text()) if state.exists() else (0, None)
with Client() as client:
    for page in client.changes(cursor, type="inbound"):
        (folder / "half").write_text(json.dumps(page.changes))
        (folder / "half").replace(folder / f"{n}.json")
        n += 1
        (folder / "next.half").write_text(json.dumps([n, page.next_cursor]))
        (folder / "next.half").replace(state)
