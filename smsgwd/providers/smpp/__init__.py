"""SMPP v3.4 as an ESME: kept binds with a window, over smpplib's PDUs.

build -> provider -> parts, address     what goes into a submit_sm, and what its answer means (status)
                  -> smsc -> session    the binds: made, kept, made anew; one connection
                          -> window     how much may be on its way, and what waits
                          -> receipts   what the SMSC tells later
                  all of them -> pdu    the octets
"""

from smsgwd.providers.smpp.build import build

__all__ = ["build"]
