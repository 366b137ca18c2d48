"""Singer tap for the CDR API of Calldex."""
