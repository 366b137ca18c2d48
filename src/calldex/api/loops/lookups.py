"""What records name, with ids: agents, queues, teams, campaigns and wrap-up codes."""

import json
from pathlib import Path

from calldex.client import Client

half = Path("names.half")
with Client() as client:
    names = {name: client.lookup(name) for name in ("agents", "queues", "teams", "campaigns", "wrapup_codes")}
half.write_text(json.dumps(names))
half.replace("names.json")
