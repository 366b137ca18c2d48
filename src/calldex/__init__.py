"""Calldex keeps a contact centre's call detail records and answers the CDR API over them."""

__version__ = "0.1.0"
