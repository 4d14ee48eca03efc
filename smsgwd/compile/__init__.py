"""From a loaded file to what can serve, or to all that is wrong with it.

draft     a file on its way: collects its problems, compiles its templates
secrets   what the file refers to
limits    of either file
gateway   a gateway file
site      smsgwd.yaml
"""

from smsgwd.compile.draft import Draft
from smsgwd.compile.gateway import FAILOVER, compile_gateway, digest_of_file
from smsgwd.compile.site import compile_site

__all__ = ["FAILOVER", "Draft", "compile_gateway", "compile_site", "digest_of_file"]
