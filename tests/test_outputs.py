"""docs/outputs.py renews what pages show."""

import time
from pathlib import Path

import pytest

from docs.outputs import with_outputs

PAGE = """# A page

<!-- run -->
```sh
number=3
seq $number
```
```text
old
```

<!-- run -->
```sh
seq 1$number; echo "to the log" >&2
```
```text
1
2
…
13
```

```sh
exit 1
```

<!-- run -->
```python
print("from Python")
```
```text
```
"""


def test_outputs_take_the_place_of_old_ones_and_are_cut_as_they_were(tmp_path: Path) -> None:
    page = with_outputs(PAGE, tmp_path)
    assert "```text\n1\n2\n3\n```" in page
    assert "```text\n1\n2\n…\n13\n```" in page
    assert "```text\nfrom Python\n```" in page
    assert "to the log\n" not in page
    assert page.replace("1\n2\n3\n", "old\n").replace("from Python\n", "", 1) == PAGE


def test_a_block_that_fails_ends_the_run_and_is_shown(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="false && echo"):
        with_outputs("<!-- run -->\n```sh\nsleep 600 & echo $! > pid\nfalse && echo\nfalse\n```\n", tmp_path)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}/stat").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.05)
    raise AssertionError("what the page started is still there")
