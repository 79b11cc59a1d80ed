"""The table of a run."""

from omniformer.training.results import format_number, print_results


def test_table_shows_every_number_test_first(capsys):
    print_results({"train/seconds": 61.26, "val/loss": 0.5, "test/accuracy": 0.98765, "seed": 7, "parameters": 12345})
    printed = capsys.readouterr().out
    order = [printed.index(word) for word in ("test/accuracy", "val/loss", "train/seconds", "parameters", "seed")]
    assert order == sorted(order)
    for shown in ("0.9877", "0.5000", "61.3", "12,345"):
        assert shown in printed


def test_what_stands_beside_a_number_is_in_its_row(capsys):
    print_results({"test/accuracy": 0.9, "test/f1": 0.8}, beside={"test/accuracy": "GCN 0.8150"})
    rows = [line for line in capsys.readouterr().out.splitlines() if "test/" in line]
    assert ["GCN 0.8150" in row for row in rows] == ["test/accuracy" in row for row in rows]


def test_the_main_metric_comes_first_of_each_split(capsys):
    print_results({"test/a": 1.0, "test/f1": 2.0, "x/test/f1": 3.0, "val/a": 4.0, "val/f1": 5.0}, main="val/f1")
    printed = capsys.readouterr().out
    order = [printed.index(f" {word} ") for word in ("test/f1", "x/test/f1", "test/a", "val/f1", "val/a")]
    assert order == sorted(order)


def test_small_and_large_numbers_stay_readable():
    assert format_number("val/loss", 0.00001234) == "1.234e-05"
    assert format_number("val/x", 1234567.8) == "1.235e+06"
    assert [format_number("val/recall@5", each) for each in (1.0, 0.0)] == ["1.0000", "0.0000"]
    assert format_number("seed", 123456) == "123456"
