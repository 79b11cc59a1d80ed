"""Flat rows of every kind of prediction."""

import csv
import json
from dataclasses import replace

import pytest

from omniformer.prediction import Prediction
from omniformer.prediction_table import PredictionFile, predictions_table

CLASS = Prediction(input="a", member="it", probabilities={"ant": 0.25, "bee": 0.75}, score=0.75)
NUMBERS = Prediction(input="b", member="much", probabilities={}, values=(1.5, -2.0))
TOKEN = replace(CLASS, token=3, text="bzz", place=(4, 7))
SPAN = Prediction(input="c", member="where", probabilities={}, text="Bern", place=(0, 4), span=(1, 2), score=0.5)


def test_rows_have_the_columns_of_their_kind():
    assert predictions_table([CLASS], top=3) == [
        {"input": "a", "member": "it", "label": "bee", "score": 0.75, "label_2": "ant", "score_2": 0.25}
    ]
    assert predictions_table([NUMBERS]) == [{"input": "b", "member": "much", "value_1": 1.5, "value_2": -2.0}]
    one = replace(NUMBERS, values=(1.5,))
    assert predictions_table([one]) == [{"input": "b", "member": "much", "value": 1.5}]
    assert predictions_table([TOKEN]) == [
        {"input": "a", "member": "it", "token": 3, "text": "bzz", "begin": 4, "end": 7, "label": "bee", "score": 0.75}
    ]
    (row,) = predictions_table([SPAN])
    assert row == {
        "input": "c", "member": "where", "text": "Bern", "begin": 0, "end": 4, "first_token": 1, "last_token": 2,
        "score": 0.5,
    }  # fmt: skip
    assert predictions_table([]) == []


def test_rows_of_several_kinds_have_the_same_columns():
    rows = predictions_table([NUMBERS, TOKEN, CLASS], top=2)
    assert {tuple(row) for row in rows} == {
        (
            "input",
            "member",
            "token",
            "text",
            "begin",
            "end",
            "label",
            "score",
            "label_2",
            "score_2",
            "value_1",
            "value_2",
        )
    }
    assert rows[2]["token"] is None and rows[0]["label"] is None


def test_a_file_of_several_kinds_is_whole_and_an_ending_that_says_nothing_is_refused(tmp_path):
    with PredictionFile(tmp_path / "a.csv") as file:
        for each in (NUMBERS, CLASS, SPAN):
            file.add(each)
    assert (tmp_path / "a.csv").read_text().splitlines()[2] == "a,it,,,,,,bee,0.75,,"
    with pytest.raises(ValueError, match=r"a\.xlsx ends with neither \.csv nor \.jsonl"):
        PredictionFile(tmp_path / "a.xlsx")


def test_no_cell_is_a_formula_and_numbers_stay_numbers(tmp_path):
    hostile = replace(CLASS, input="@SUM(A1)", probabilities={"=cmd|' /C calc'!A0": 0.75, "-1": 0.25}, text="+a")
    with PredictionFile(tmp_path / "a.csv", top=2) as file:
        file.add(hostile)
    (row,) = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    told = [row[name] for name in ("input", "text", "label", "label_2")]
    assert told == ["'@SUM(A1)", "'+a", "'=cmd|' /C calc'!A0", "-1"]
    with PredictionFile(tmp_path / "a.jsonl") as file:
        file.add(hostile)
    assert json.loads((tmp_path / "a.jsonl").read_text())["input"] == "@SUM(A1)"
