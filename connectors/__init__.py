"""Calldex for those who have a platform: Airbyte, Singer, dlt, Meltano. Not in the wheel."""
