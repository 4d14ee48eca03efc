"""smsgwd: SMS gateways as code, behind one Unix socket."""

__version__ = "0.1.0"
