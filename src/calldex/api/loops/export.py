"""All inbound calls as CSV; the file appears when it is whole."""

from calldex.client import Client

with Client() as client:
    client.export("calls.csv", format="csv", type="inbound")
