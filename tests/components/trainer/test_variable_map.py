import pytest

from components.trainer.variable_map import NOTHING, Rule, find_source, parse_variable_map
from schemas.errors import ConfigError


def test_a_map_is_lines_of_new_and_old_name():
    lines = [
        "# new\told",
        "",
        "deep/ad\tembedding/ad.id",
        "wide/bias   bias  # since the spring",
        "  re:deep/(.*)/(.*) net/\\2_\\1",
    ]
    text = "\n".join([*lines, "re: x -", "- gone"])
    assert parse_variable_map(text) == (
        Rule(3, "deep/ad", "embedding/ad.id"),
        Rule(4, "wide/bias", "bias"),
        Rule(5, "deep/(.*)/(.*)", r"net/\2_\1", regex=True),
        Rule(6, "x", NOTHING, regex=True),
        Rule(7, NOTHING, "gone"),
    )


def test_a_map_may_say_nothing():
    assert parse_variable_map("\n  # later\n") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b\nc\n", r"m.txt:2: must be NEW OLD, or re:NEW OLD. Received: 'c'"),
        ("a b c", r"m.txt:1: must be NEW OLD, or re:NEW OLD. Received: 'a b c'"),
        ("re:a", r"m.txt:1: must be NEW OLD, or re:NEW OLD. Received: 're:a'"),
        ("- -", r"m.txt:1: must be NEW OLD, or re:NEW OLD. Received: '- -'"),
        ("a b\n\na c", r"m.txt:3: line 1 is about a, too"),
        ("- a\nb c\n- a", r"m.txt:3: line 1 is about a, too"),
        ("re:a.* b\nre:a.* -", r"m.txt:2: line 1 is about a\.\*, too"),
        ("re:a( b", r"m.txt:1: not a regular expression, or not its template: missing \), unterminated .*Received: 'a\(' 'b'"),
        (r"re:(a) \2", r"m.txt:1: not a regular expression, or not its template: invalid group reference 2"),
        ("re:- a[", r"m.txt:1: not a regular expression, or not its template: unterminated character set"),
    ],
)
def test_a_malformed_line_is_named(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_variable_map(text, "m.txt")


def test_lines_that_name_what_stays_or_is_left_are_not_twice_the_same():
    assert len(parse_variable_map("- a\n- b\nc -\nd -\na b\nre:a b\n")) == 6


@pytest.mark.parametrize(
    ("name", "old", "line"),
    [
        ("deep/ad", "table", 1),  # the plain line, though the regex matches as well
        ("deep/user", "embedding/user", 2),
        ("my/deep/user", "my/deep/user", None),  # a regex matches whole names
        ("wide.ad", "fresh.ad", 3),
        ("wide/ad", "wide/ad", None),  # the dot of a plain line is a dot
    ],
)
def test_the_source_of_a_variable(name, old, line):
    rules = parse_variable_map("deep/ad table\nre:deep/(.*) embedding/\\1\nwide.ad fresh.ad\n- deep/user")
    found, rule = find_source(name, rules)
    assert (found, rule and rule.line) == (old, line)


def test_two_regexes_for_one_variable_are_an_error():
    rules = parse_variable_map("re:a.* x\nre:.*b y\n")
    assert find_source("ac", rules)[0] == "x"
    with pytest.raises(ConfigError, match="lines 1 and 2 both match ab; a plain line would go before them"):
        find_source("ab", rules)


def test_a_plain_line_goes_before_a_regex_of_the_same_text():
    assert find_source("ab", parse_variable_map("re:ab x\nab y"))[0] == "y"


def test_what_a_line_leaves_unused():
    plain, regex, other = parse_variable_map("- a.c\nre:- a.c\na.c b")
    assert [plain.leaves_unused("a.c"), plain.leaves_unused("abc")] == [True, False]
    assert [regex.leaves_unused("abc"), regex.leaves_unused("abcd")] == [True, False]
    assert not other.leaves_unused("a.c")
