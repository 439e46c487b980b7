"""Completion for bash, zsh and fish, as text. `terminator-proxy` is completed, the name in the search path: a program
called `terminator` may be Debian's desktop program.
"""

from __future__ import annotations

from dataclasses import dataclass

HEADER = "completion for terminator-proxy, written by packaging/generate.py"
NAMES = "terminator-proxy /opt/terminator/bin/terminator"


@dataclass(frozen=True)
class Option:
    """value: what stands for it in the help, None for a flag; choices: the only values there are, if so."""

    names: tuple[str, ...]
    about: str
    value: str | None
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """words: what may stand without an option, beside files."""

    name: str
    about: str
    options: list[Option]
    words: list[str]


def bash(commands: list[Command]) -> str:
    names = " ".join(command.name for command in commands)
    values = [
        f"\t\t'{command.name} {name}') words='{' '.join(option.choices)}' ;;"
        for command in sorted(commands, key=lambda command: command.name)
        for option in command.options
        for name in option.names
        if option.choices
    ]
    cases = []
    for command in commands:
        options = sorted(name for option in command.options for name in option.names)
        cases.append(f"\t\t{command.name}) words='{' '.join([*options, *command.words, '--help'])}' ;;")
    return "\n".join(
        [
            f"# bash {HEADER}.",
            "_terminator() {",
            "\tlocal current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=''",
            '\tcase "${COMP_WORDS[1]} $before" in',
            *values,
            "\tesac",
            '\tif [ -n "$words" ]; then',
            '\t\tmapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")',
            "\t\treturn",
            "\tfi",
            "\tcase ${COMP_WORDS[1]} in",
            *cases,
            f"\t\t*) words='{names} --help --version' ;;",
            "\tesac",
            '\tif [ "$COMP_CWORD" -eq 1 ]; then',
            f"\t\twords='{names} --help --version'",
            '\telif [ -z "$current" ] || [ "${current#-}" = "$current" ]; then',
            '\t\tmapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"; compgen -f -- "$current")',
            "\t\treturn",
            "\tfi",
            '\tmapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")',
            "}",
            f"complete -o filenames -F _terminator {NAMES}",
            "",
        ]
    )


def zsh(commands: list[Command]) -> str:
    lines = [f"#compdef {NAMES}", f"# zsh {HEADER}.", "", "_terminator_proxy() {", "\tlocal -a commands=("]
    lines += [f"\t\t{_quoted(command.name + ':' + command.about)}" for command in commands]
    lines += ["\t)", "\tif ((CURRENT == 2)); then"]
    lines += ["\t\t_describe -t commands command commands", "\t\treturn", "\tfi"]
    lines += ["\tlocal command=$words[2]", "\tshift words", "\t((CURRENT--))", "\tcase $command in"]
    for command in commands:
        lines.append(f"\t\t{command.name}) _arguments \\")
        lines.append("\t\t\t'(- *)--help[show the help]' \\")
        for option in command.options:
            names = f"({' '.join(option.names)})"
            about = option.about.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
            value = ""
            if option.value is not None:
                value = f":{option.value}:" + (f"({' '.join(option.choices)})" if option.choices else "_files")
            lines += [f"\t\t\t{_quoted(f'{names}{name}[{about}]{value}')} \\" for name in option.names]
        words = f'\'*:argument:_alternative "words::({" ".join(command.words)})" "files::_files"\''
        lines.append("\t\t\t" + (words if command.words else "'*:file:_files'") + " ;;")
    lines += ["\tesac", "}", "", '_terminator_proxy "$@"', ""]
    return "\n".join(lines)


def fish(commands: list[Command]) -> str:
    complete = "complete -c terminator-proxy"
    lines = [f"# fish {HEADER}.", f"{complete} -n __fish_use_subcommand -f -l version -d 'show the version'"]
    lines.append(f"{complete} -f -l help -d 'show the help'")
    for command in commands:
        lines.append(f"{complete} -n __fish_use_subcommand -f -a {command.name} -d {_fish_quoted(command.about)}")
    for command in commands:
        inside = f"{complete} -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            flags = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = f" -x -a '{' '.join(option.choices)}'" if option.choices else "" if option.value is None else " -r"
            lines.append(f"{inside} {flags}{value} -d {_fish_quoted(option.about)}")
        if command.words:
            lines.append(f"{inside} -a '{' '.join(command.words)}'")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
