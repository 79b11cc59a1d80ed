"""Samples that are changed when they are read."""

from dataclasses import replace

from omniformer.data.changed import Changed
from omniformer.data.source import Raw


def test_a_sample_is_changed_when_it_is_asked_for_and_not_before():
    asked = []

    def shouted(raw):
        asked.append(raw.id)
        return replace(raw, contents={"text": raw.contents["text"].upper()})

    raws = [Raw(id=str(i), contents={"text": word}) for i, word in enumerate(("one", "two", "three"))]
    changed = Changed(raws, shouted)
    assert len(changed) == 3 and asked == []
    assert changed[-1].contents == {"text": "THREE"} and asked == ["2"]
    assert [raw.contents["text"] for raw in changed[:2]] == ["ONE", "TWO"]
    assert raws[0].contents == {"text": "one"}
