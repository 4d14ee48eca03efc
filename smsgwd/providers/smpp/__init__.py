"""SMPP v3.4 as an ESME: kept binds with a window, over smpplib's PDUs.

build       settings made into a provider
provider    what the answers to a message mean, with the table in `status`
parts       a message in its submit_sm PDUs, with its addresses from `address`
smsc        the binds of a gateway, and the queue before them
bind        one bind, made, watched, made anew
session     one connection of it
window      how much may be on its way, and what waits
receipts    what the SMSC tells later
pdu         the octets
"""

from smsgwd.providers.smpp.build import build

__all__ = ["build"]
