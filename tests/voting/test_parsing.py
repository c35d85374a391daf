import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError
from kit.voting.parsing import FORMS, AnyOf, parse_rule
from kit.voting.rules import ESC, KOfFirst, KOfRecent, Lead, Rule, Uncatchable, VoteHistory, Votes
from kit.voting.sequential import SPRT, AdaptiveConsistency, MajorityCertificate

COUNT = st.integers(1, 99)
LEVEL = st.floats(0, 1, exclude_min=True, exclude_max=True)
ABOVE_HALF = st.floats(0.5, 1, exclude_min=True, exclude_max=True)
K_AND_N = st.tuples(COUNT, COUNT).map(sorted)
SINGLE: st.SearchStrategy[Rule] = st.one_of(
    st.builds(Votes, COUNT),
    K_AND_N.map(lambda pair: KOfFirst(*pair)),
    K_AND_N.map(lambda pair: KOfRecent(*pair)),
    st.builds(Lead, COUNT, st.sampled_from(["second", "rest"])),
    st.just(Uncatchable()),
    st.builds(ESC, COUNT),
    st.builds(AdaptiveConsistency, ABOVE_HALF),
    st.builds(SPRT, LEVEL, ABOVE_HALF),
    st.builds(MajorityCertificate, LEVEL),
)
RULES = SINGLE | st.builds(AnyOf, st.lists(SINGLE, min_size=2, max_size=4).map(tuple))


def agreed(num: int) -> VoteHistory:
    return VoteHistory(answers=(7,) * num, weights=(1.0,) * num, num_remaining=8)


@given(RULES)
def test_a_rule_reads_back_from_its_text(rule: Rule) -> None:
    assert parse_rule(str(rule)) == rule
    assert str(parse_rule(str(rule))) == str(rule)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("votes(4)", Votes(4)),
        ("k_of_first(4,5)", KOfFirst(4, 5)),
        ("k_of_recent(4,5)", KOfRecent(4, 5)),
        ("lead(3)", Lead(3)),
        ("lead(2,rest)", Lead(2, "rest")),
        ("uncatchable", Uncatchable()),
        ("esc(5)", ESC(5)),
        ("adaptive(0.95)", AdaptiveConsistency(0.95)),
        ("sprt(0.05)", SPRT(0.05)),
        ("sprt(0.05,0.9)", SPRT(0.05, 0.9)),
        ("certificate(0.05)", MajorityCertificate(0.05)),
        ("votes(4) | lead(3)", AnyOf((Votes(4), Lead(3)))),
    ],
)
def test_every_form_reads_as_its_rule_and_writes_as_it_was_read(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule
    assert str(rule) == text


def test_spaces_do_not_matter() -> None:
    assert parse_rule("  votes ( 4 )|k_of_first(4 , 5) ") == AnyOf((Votes(4), KOfFirst(4, 5)))
    assert parse_rule("uncatchable()") == Uncatchable()


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known() -> None:
    with pytest.raises(InputError, match=r"unknown stop rule 'adaptiv'; did you mean 'adaptive'\?") as caught:
        parse_rule("votes(4) | adaptiv(0.95)")
    assert all(name in str(caught.value) for name in FORMS)
    with pytest.raises(InputError, match=r"unknown stop rule 'xyz'; known: votes, "):
        parse_rule("xyz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("votes", r"'votes': got 0 arguments, expected 1; write votes\(k: int\)"),
        ("votes(4,5)", r"got 2 arguments, expected 1; write votes\(k: int\)"),
        ("votes(four)", r"'four'; write votes\(k: int\)"),
        ("votes(0)", r"k must be >= 1, got 0; write votes\(k: int\)"),
        ("k_of_first(4)", r"got 1 arguments, expected 2; write k_of_first\(k: int, n: int\)"),
        ("k_of_first(4,)", r"''; write k_of_first"),
        ("lead(3,all)", r"over must be 'second' or 'rest', got 'all'"),
        ("uncatchable(1)", r"got 1 arguments, expected 0; write uncatchable$"),
        ("sprt", r"got 0 arguments, expected 1 or 2; write sprt\(alpha: float\[, p1: float\]\)"),
        ("adaptive(95)", r"threshold must be in \(0.5, 1\), got 95.0"),
        ("certificate(nan)", r"alpha must be in \(0, 1\), got nan"),
        ("", r"'' is no stop rule"),
        ("votes(4) |", r"'' is no stop rule"),
        ("votes(4", r"'votes\(4' is no stop rule; write name\(arguments\)"),
        ("votes(4) lead(3)", r"is no stop rule"),
    ],
)
def test_a_malformed_text_says_what_is_wanted(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_rule(text)


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_an_input_error(text: str) -> None:
    try:
        rule = parse_rule(text)
    except InputError:
        return
    assert parse_rule(str(rule)) == rule


def test_any_of_stops_with_the_first_of_its_rules() -> None:
    either = AnyOf((Votes(4), Lead(2, "rest")))
    assert not either.is_enough(agreed(1))
    assert either.is_enough(agreed(2))


def test_any_of_holds_two_single_rules_or_more() -> None:
    with pytest.raises(InputError, match="two or more"):
        AnyOf((Votes(4),))
    with pytest.raises(InputError, match="single rules"):
        AnyOf((Votes(4), AnyOf((Votes(3), Lead(2)))))
