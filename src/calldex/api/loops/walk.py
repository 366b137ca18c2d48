"""Every inbound call, a record a line."""

import json
from pathlib import Path

from calldex.client import Client

half = Path("inbound.half")
with Client() as client, half.open("w") as file:
    for record in client.cdrs(type="inbound"):
        file.write(json.dumps(record) + "\n")
half.replace("inbound.jsonl")
