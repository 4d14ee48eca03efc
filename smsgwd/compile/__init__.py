"""From a loaded file to what can serve, or to all that is wrong with it.

draft     a file on its way: collects its problems, compiles its templates
secrets   what the file refers to
limits    of either file
listen    where TCP clients come in, and their tokens
gateway   a gateway file
site      smsgwd.yaml
token     a token file
token_set tokens among other files
"""

from smsgwd.compile.draft import Draft
from smsgwd.compile.gateway import FAILOVER, compile_gateway, digest_of_file
from smsgwd.compile.site import compile_site
from smsgwd.compile.token import compile_token, digest_of_token, discreet, is_sealed, sealed
from smsgwd.compile.token_set import gateway_problems, user_problems

__all__ = [
    "FAILOVER",
    "Draft",
    "compile_gateway",
    "compile_site",
    "compile_token",
    "digest_of_file",
    "digest_of_token",
    "discreet",
    "gateway_problems",
    "is_sealed",
    "sealed",
    "user_problems",
]
