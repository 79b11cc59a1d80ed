import io

import pytest
from omniformer_tokenizers import limits
from omniformer_tokenizers.limits import allowed, bounded, check_size


def test_limits_hold_up_to_what_they_say():
    check_size("x", 100, "pixels", limit=100, free=100, n_bytes=0)
    check_size("x", 100, "pixels", limit=100, free=10, n_bytes=1)
    with pytest.raises(
        ValueError, match=r"x; at most 99 pixels are accepted \(OMNIFORMER_MEDIA_LIMITS=4 in the environ"
    ):
        check_size("x", 100, "pixels", limit=99, free=99, n_bytes=100)
    with pytest.raises(ValueError, match="x out of 1 bytes; beyond 10 pixels, at most 100 a byte are accepted"):
        check_size("x", 101, "pixels", limit=999, free=10, n_bytes=1)


def test_one_variable_moves_all_limits(monkeypatch):
    monkeypatch.setenv(limits.VARIABLE, "1.5")
    assert allowed(100) == 150
    check_size("x", 150, "pixels", limit=100, free=100, n_bytes=0)
    for wrong in ("0", "-1", "much", "inf", "nan", ""):
        monkeypatch.setenv(limits.VARIABLE, wrong)
        with pytest.raises(ValueError, match=f"OMNIFORMER_MEDIA_LIMITS='{wrong}' is not a positive number"):
            allowed(100)


def test_unpacking_stops_at_the_limit(monkeypatch):
    content = bytes(5_000_000)
    assert bounded(io.BytesIO(content).read, used=lambda: 10) == content
    monkeypatch.setattr(limits, "FREE_TEXT_BYTES", 1_000_000)
    source = io.BytesIO(content)
    with pytest.raises(ValueError, match=r"bytes or more out of 10 bytes; beyond 1000000 bytes, at most 100 a byte"):
        bounded(source.read, used=lambda: 10)
    assert source.tell() <= 3_000_000
    assert bounded(io.BytesIO(content).read, used=lambda: 50_000) == content
    monkeypatch.setattr(limits, "MAX_TEXT_BYTES", 4_000_000)
    with pytest.raises(ValueError, match="bytes or more; at most 4000000 bytes are accepted"):
        bounded(io.BytesIO(content).read, used=lambda: 50_000)


def test_what_lies_behind_a_bomb_does_not_pay_for_it(monkeypatch):
    monkeypatch.setattr(limits, "FREE_TEXT_BYTES", 1_000_000)
    source = io.BytesIO(bytes(50_000_000))
    with pytest.raises(ValueError, match="at most 100 a byte"):
        bounded(source.read, used=lambda: source.tell() // 1000)
    assert source.tell() <= 3_000_000
