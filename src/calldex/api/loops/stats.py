"""How many inbound calls each queue had, and how many of them were answered."""

import json
from pathlib import Path

from calldex.client import Client

half = Path("stats.half")
with Client() as client:
    half.write_text(json.dumps(client.stats(type="inbound", group_by="queue", measures=["calls", "answered_rate"])))
half.replace("stats.json")
