"""Variable maps: which saved variable a variable of a new model takes its values from, where the names differ.

EasyRec's files (`fine_tune_ckpt_var_map`: new name, white space, old name) can be used as they are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import ConfigError

NOTHING = "-"
"""On the right: the new variable keeps its initial values. On the left: the saved one is left unused."""

_REGEX = "re:"
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True, slots=True)
class Rule:
    r"""One line of a map.

    Attributes:
        line: Its number, from 1.
        new: A variable of the new model, or `NOTHING`; of a regex, a pattern of whole names.
        old: A saved variable, or `NOTHING`; of a regex, a template with \1, \2, ... for the groups of `new`, or if that is
            `NOTHING`, a pattern of whole names.
        regex: Whether it is a regex.
    """

    line: int
    new: str
    old: str
    regex: bool = False

    def leaves_unused(self, old: str) -> bool:
        """Whether it says that the saved variable `old` is not used."""
        return self.new == NOTHING and (bool(re.fullmatch(self.old, old)) if self.regex else self.old == old)


def parse_variable_map(text: str, path: str = "variable map") -> tuple[Rule, ...]:
    """Reads lines of `NEW OLD`, or `re:NEW OLD` for regexes; empty lines and what follows a `#` after white space are skipped.

    Raises:
        ConfigError: A line is malformed, or says something of what an earlier line is about; names `path` and the line.
    """
    rules: list[Rule] = []
    first_lines: dict[tuple[bool, str, str], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = _COMMENT.sub("", line).strip()
        if not content:
            continue
        regex = content.startswith(_REGEX)
        words = content.removeprefix(_REGEX).split()
        if len(words) != 2 or words == [NOTHING, NOTHING]:
            raise ConfigError(f"{path}:{number}: must be NEW OLD, or {_REGEX}NEW OLD. Received: {content!r}")
        new, old = words
        if regex:
            _check_regex(new, old, f"{path}:{number}")
        about = (regex, new, old) if new == NOTHING else (regex, new, "")
        first = first_lines.setdefault(about, number)
        if first != number:
            raise ConfigError(f"{path}:{number}: line {first} is about {old if new == NOTHING else new}, too")
        rules.append(Rule(number, new, old, regex))
    return tuple(rules)


def _check_regex(new: str, old: str, where: str) -> None:
    pattern, template = (old, "") if new == NOTHING else (new, old)
    try:
        match = re.compile(f"{pattern}|").match("")  # matches the empty name, if nothing else
        assert match
        match.expand(template)
    except (re.error, IndexError) as error:
        raise ConfigError(f"{where}: not a regular expression, or not its template: {error}. Received: {new!r} {old!r}") from error


def find_source(name: str, rules: Sequence[Rule]) -> tuple[str, Rule | None]:
    """Returns the name of the saved variable for the new variable `name`, or `NOTHING`; and the rule that says so, if one does.

    A plain line goes before a regex; without either, the name is the same.

    Raises:
        ConfigError: Two regexes match.
    """
    rules = [rule for rule in rules if rule.new != NOTHING]
    for rule in rules:
        if not rule.regex and rule.new == name:
            return rule.old, rule
    matches = [(match, rule) for rule in rules if rule.regex and (match := re.fullmatch(rule.new, name))]
    if len(matches) > 1:
        lines = " and ".join(str(rule.line) for _, rule in matches)
        raise ConfigError(f"variable map: lines {lines} both match {name}; a plain line would go before them")
    for match, rule in matches:
        return match.expand(rule.old), rule
    return name, None
