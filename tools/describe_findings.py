"""Writes docs/findings.md from smsgwd/explanations.toml: what each code of a finding means, and what mends it.

python tools/describe_findings.py            # write
python tools/describe_findings.py --check    # exit 1 when it is stale
"""

import argparse
import sys
from pathlib import Path

from smsgwd.explanations import Explanation, explanations

PAGE = Path(__file__).resolve().parent.parent / "docs" / "findings.md"

HEAD = """\
<!-- Written by tools/describe_findings.py from smsgwd/explanations.toml: do not edit. -->
# Findings

What `smsgwd check` and the daemon say about a configuration. Each finding has a code, which stays the same when its
words change; `smsgwd explain CODE` prints what stands here. An error keeps a gateway from being used, a warning does
not: `smsgwd check --strict` fails for both.

A comment silences the warnings of one code on its line, with a reason for whoever reads it next:

```yaml
url: "http://192.0.2.7/send" # smsgwd: ignore plain-http an appliance in the same rack
```

A text of several lines has its comment on the line where it begins, after `|` or `>`. Errors cannot be silenced.
"""
PARTS = {
    "files": "Files and folders",
    "yaml": "YAML",
    "keys": "Keys and values",
    "secrets": "Secrets and encryption",
    "templates": "Templates",
    "http": "Providers over HTTP",
    "others": "Other providers",
    "tokens": "Tokens",
    "comments": "Comments",
}


def main() -> int:
    """Write the page, or say that it is stale."""
    parser = argparse.ArgumentParser(description="Write docs/findings.md.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when it is stale")
    arguments = parser.parse_args()
    text = page()
    if arguments.check and not (PAGE.is_file() and PAGE.read_text("utf-8") == text):
        print(f"{PAGE.name} is stale: run tools/describe_findings.py")
        return 1
    if not arguments.check:
        PAGE.write_text(text, "utf-8")
    return 0


def page() -> str:
    """The page, as it has to be."""
    known = explanations().values()
    rows = "".join(f"| [`{one.code}`](#{one.code}) | {one.severity} | {cell(one.title)} |\n" for one in known)
    parts = [
        f"## {title}\n\n" + "\n".join(section(one) for one in known if one.part == part)
        for part, title in PARTS.items()
    ]
    return HEAD + "\n| code | severity | what is wrong |\n|---|---|---|\n" + rows + "\n" + "\n".join(parts)


def section(one: Explanation) -> str:
    """All about one code."""
    return f"### {one.code}\n\n{one.severity}: {one.title}\n\n{one.cause}\n\n**Mend:** {one.mend}\n\n{example(one)}"


def example(one: Explanation) -> str:
    """A file with the finding and one without it, or words."""
    if one.example:
        return f"```text\n{one.example}\n```\n"
    return f"```yaml\n# with the finding\n{visible(one.bad)}```\n\n```yaml\n# without it\n{one.good}```\n"


def visible(text: str) -> str:
    """A text with its control characters as escapes: they are what is wrong with it, and no page shows them."""
    return "".join(one if one.isprintable() or one == "\n" else f"\\x{ord(one):02x}" for one in text)


def cell(text: str) -> str:
    """A text inside of a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
