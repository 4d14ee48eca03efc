"""Writes completions/ from the command's own parser, so that shells offer what the command understands.

python tools/write_completions.py            # write
python tools/write_completions.py --check    # exit 1 when something is stale
"""

import argparse
import shlex
import sys
from argparse import Action, ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from smsgwd.cli import VERBS, build
from smsgwd.cli.init import known_examples
from smsgwd.explanations import explanations
from smsgwd.schema import names

FOLDER = Path(__file__).resolve().parent.parent / "completions"

# What a value is, by how the help calls it; any other is free text.
KINDS = {"DIR": "folders", "PATH": "files", "OLD": "files", "NEW": "files", "GATEWAY": "gateways"}
# What a value may be, by how the help calls it, where the parser itself does not say.
WORDS: dict[object, Callable[[], Iterable[str]]] = {"PROVIDER": names, "CODE": explanations, "P": known_examples}
BASH_ACTIONS = {
    "folders": "_smsgwd_paths -d; return",
    "files": "_smsgwd_paths -f; return",
    "gateways": "_smsgwd_gateways; return",
    "": "return",
}
ZSH_ACTIONS = {"folders": "_files -/", "files": "_files", "gateways": "_smsgwd_gateways", "": " "}

BASH = """\
# Completion of smsgwd for bash. Written by tools/write_completions.py from the command's own parser: do not edit.

_smsgwd_words() {{
    COMPREPLY=($(compgen -W "$1" -- "$current"))
}}

_smsgwd_paths() {{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$current")
}}

# The gateways of the configuration directory: --config, else $SMSGWD_CONFIG, else /etc/smsgwd.
_smsgwd_gateways() {{
    local index folder=${{SMSGWD_CONFIG:-/etc/smsgwd}} file names=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        if [[ ${{COMP_WORDS[index]}} == --config ]]; then
            folder=${{COMP_WORDS[index + 1]}}
            [[ $folder == "=" ]] && folder=${{COMP_WORDS[index + 2]}}
        fi
    done
    for file in "${{folder/#\\~\\//$HOME/}}"/gateways.d/*.y{{a,}}ml; do
        file=${{file##*/}}
        [[ $file =~ ^[A-Za-z0-9][A-Za-z0-9_-]*\\.ya?ml$ ]] && names+=("${{file%.*}}")
    done
    _smsgwd_words "${{names[*]}}"
}}

_smsgwd() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} verb= word
    COMPREPLY=()
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD - 1}}"; do
        [[ $word != -* ]] && verb=$word && break
    done
    # `=` is a word of its own: --format=json comes as three.
    if [[ $current == "=" ]]; then
        current=
    elif [[ $previous == "=" ]]; then
        previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    case $verb/$previous in
{values}
    esac
    case $verb/$current in
{words}
    esac
}}

complete -F _smsgwd smsgwd
"""

ZSH = """\
#compdef smsgwd
# Completion of smsgwd for zsh. Written by tools/write_completions.py from the command's own parser: do not edit.

# The gateways of the configuration directory: --config, else $SMSGWD_CONFIG, else /etc/smsgwd.
_smsgwd_gateways() {{
    local folder=${{(Q)opt_args[--config]:-${{SMSGWD_CONFIG:-/etc/smsgwd}}}}
    local -a names=(${{~folder}}/gateways.d/*.(yaml|yml)(N:t:r))
    compadd -a names
}}

_smsgwd() {{
    local context state line
    typeset -A opt_args
    local -a verbs=(
{verbs}
    )
    _arguments -C '(- *)'{{-h,--help}}'[show help]' '(- *)--version[show the version]' ':verb:->verb' '*:: :->arguments'
    case $state in
        verb) _describe verb verbs ;;
        arguments)
            case $words[1] in
{cases}
            esac
            ;;
    esac
}}

_smsgwd "$@"
"""


def main() -> int:
    """Write or check the files; returns the exit code."""
    parser = ArgumentParser(description="Write the shell completions.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when something is stale")
    args = parser.parse_args()
    stale = {FOLDER / name: text for name, text in files().items() if not _is(FOLDER / name, text)}
    for path, text in stale.items():
        if args.check:
            print(f"{path.name} is stale: run tools/write_completions.py")
        else:
            path.write_text(text, "utf-8")
    return 1 if args.check and stale else 0


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text


def files() -> dict[str, str]:
    """The files by name, as they have to be."""
    return {"smsgwd.bash": _bash(), "_smsgwd": _zsh()}


def _verbs() -> dict[str, list[Action]]:
    """The arguments of each verb."""
    parser = build()
    # argparse has no public way to look at a parser
    (verbs,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))  # noqa: SLF001 - see above
    return {name: list(_actions(parser)) for name, parser in verbs.choices.items()}


def _actions(parser: ArgumentParser) -> Iterator[Action]:
    """The arguments of a verb; of one that has steps of its own, which step, and the options of all."""
    told = set[str]()
    for action in parser._actions:  # noqa: SLF001 - as in _verbs
        yield action
        told |= set(action.option_strings)
        for step in action.choices.values() if isinstance(action, argparse._SubParsersAction) else ():  # noqa: SLF001 - as in _verbs
            options = [one for one in _actions(step) if _is_option(one) and told.isdisjoint(one.option_strings)]
            yield from options
            told |= {name for one in options for name in one.option_strings}


def _options() -> Iterator[tuple[str, Action]]:
    return ((verb, action) for verb, actions in _verbs().items() for action in actions if _is_option(action))


def _is_option(action: Action) -> bool:
    return bool(action.option_strings)


def _kind(action: Action) -> str:
    return "gateways" if action.dest == "gateway" else KINDS.get(str(action.metavar), "")


def _choices(action: Action) -> tuple[str, ...]:
    """The words that a value may be. Some of them a parser does not load: --help would have to wait for them."""
    if action.metavar in WORDS:
        return tuple(WORDS[action.metavar]())
    return tuple(map(str, action.choices or ()))


def _takes_value(action: Action) -> bool:
    return action.nargs != 0


def _long(action: Action) -> str:
    return action.option_strings[-1]


def _bash() -> str:
    values = _merged((f"{verb}/{_long(one)}", _bash_value(one)) for verb, one in _options() if _takes_value(one))
    words = [("/-*", _bash_words(["--help", "--version"])), ("/*", _bash_words(VERBS))]
    for verb, actions in _verbs().items():
        words.append((f"{verb}/-*", _bash_words(map(_long, filter(_is_option, actions)))))
        words += [
            (f"{verb}/*", _bash_value(action))
            for action in actions
            if not _is_option(action) and (_kind(action) or _choices(action))
        ]
    return BASH.format(values=_bash_cases(values), words=_bash_cases(words))


def _merged(cases: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Cases of one command, as one."""
    patterns: dict[str, list[str]] = {}
    for pattern, command in cases:
        patterns.setdefault(command, []).append(pattern)
    return [("|".join(several), command) for command, several in patterns.items()]


def _bash_cases(cases: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"        {pattern}) {command} ;;" for pattern, command in cases)


def _bash_words(words: Iterable[object]) -> str:
    return f'_smsgwd_words "{" ".join(map(str, words))}"; return'


def _bash_value(action: Action) -> str:
    return _bash_words(_choices(action)) if _choices(action) else BASH_ACTIONS[_kind(action)]


def _zsh() -> str:
    verbs = "\n".join(f"        {shlex.quote(f'{name}:{summary}')}" for name, summary in VERBS.items())
    cases = "\n".join(line for verb, actions in _verbs().items() for line in _zsh_case(verb, actions))
    return ZSH.format(verbs=verbs, cases=cases)


def _zsh_case(verb: str, actions: list[Action]) -> Iterator[str]:
    indent = " " * 16
    yield f"{indent}{verb})"
    yield f"{indent}    _arguments \\"
    specs = [shlex.quote(_zsh_spec(action)) for action in actions]
    yield from (f"{indent}        {spec} \\" for spec in specs[:-1])
    yield f"{indent}        {specs[-1]}"
    yield f"{indent}    ;;"


def _zsh_spec(action: Action) -> str:
    """One argument for `_arguments` (zshcompsys(1))."""
    value = f":{action.dest}:{_zsh_action(action)}"
    if not _is_option(action):
        return ("*" if action.nargs == "*" else ":" if action.nargs == "?" else "") + value
    repeated = "*" if isinstance(action, argparse._AppendAction) else ""  # noqa: SLF001 - as in _verbs
    words = (action.help or "").partition(" (")[0].partition(";")[0].replace("]", "\\]")
    if not _takes_value(action):
        return f"{_long(action)}[{words}]"
    return f"{repeated}{_long(action)}=[{words}]{value}"


def _zsh_action(action: Action) -> str:
    return f"({' '.join(_choices(action))})" if _choices(action) else ZSH_ACTIONS[_kind(action)]


if __name__ == "__main__":
    sys.exit(main())
