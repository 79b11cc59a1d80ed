import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniformer.config.relations import AtMost, Divides, Setting


def settings(**values):
    return {name: Setting(f"core.{name}", value) for name, value in values.items()}


@given(st.integers(1, 300), st.integers(1, 300))
def test_divides_offers_exactly_the_values_that_would_do(part, whole):
    rule = Divides("a", "b")
    problem = rule.problem(settings(a=part, b=whole))
    assert (problem is None) == (whole % part == 0)
    if problem:
        offered = [int(each) for each in problem.rsplit("one of ", 1)[1].split(", ")]
        assert all(rule.problem(settings(a=each, b=whole)) is None for each in offered)
        assert len(offered) == sum(whole % each == 0 for each in range(1, whole + 1))


@given(st.floats(0, 10), st.integers(0, 10))
def test_at_most_compares_numbers(small, large):
    assert (AtMost("a", "b").problem(settings(a=small, b=large)) is None) == (small <= large)


@pytest.mark.parametrize("value", [None, "auto", True, [1], 0, -4])
def test_values_that_another_check_refuses_are_left_to_it(value):
    assert Divides("a", "b").problem(settings(a=value, b=64)) is None
    assert Divides("a", "b").problem(settings(a=4, b=value)) is None


def test_the_message_names_both_keys_and_what_to_choose():
    assert Divides("n_heads", "d_model").problem(settings(n_heads=5, d_model=64)) == (
        "core.n_heads=5 does not divide core.d_model=64; choose one of 1, 2, 4, 8, 16, 32, 64"
    )


@pytest.mark.timeout(5)
def test_a_whole_of_any_size_is_told_at_once():
    told = Divides("n_heads", "d_model").problem(settings(n_heads=7, d_model=10**18))
    assert told is not None and told.endswith(" 64000, 65536")
