import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippets_of_the_page_run(snippet):
    names = {}
    exec(compile(snippet, str(PAGE), "exec"), names)
    if "Parity" in names:
        assert names["Parity"]().facts == {"n_classes": 2}
        assert [int(raw.targets["label"]) for raw in names["Parity"]().split("val")[:3]] == [0, 1, 0]
    else:
        assert len(names["batch"].ids) == len(names["batch"].targets["label"])
