"""Files as people have them: columns with other names, single texts, bad rows; and indexes by their names."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import Debater

PRODUCTS = "sku,name,description,price\n1,Alta,Sleeps two.,249\n2,Rill,Filters water.,34.5\n"
ODD = "ref,label,words,more\n1,Alta,Sleeps two.,Light\n"
pytestmark = pytest.mark.usefixtures("fake_model")


def manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path("indexes", name, "manifest.json").read_text(encoding="utf-8"))
    return loaded


def test_a_table_of_products_needs_no_renaming(debater: Debater, workdir: Path) -> None:
    Path("products.csv").write_text(PRODUCTS)
    outcome = debater("index", "products.csv")
    assert outcome.code == 0
    assert "Read sku as id, name as title, description as text; price is a field.\n" in outcome.err
    assert "columns    id=sku, title=name, text=description\n" in outcome.out
    (hit,) = debater("search", "water", "--index", "products", "--where", "price < 50", "--json").json["hits"]
    assert (hit["id"], hit["title"], hit["text"], hit["metadata"]) == ("2", "Rill", "Filters water.", {"price": 34.5})


def test_an_index_of_the_usual_columns_has_the_manifest_of_ever(index: Path) -> None:
    assert set(manifest("flight")["corpus"]) == {"source", "fingerprint", "documents"}


def test_named_columns_are_kept_for_changes_of_the_index(debater: Debater, workdir: Path) -> None:
    Path("odd.csv").write_text(ODD)
    refused = debater("index", "odd.csv")
    assert refused.code == 2
    assert refused.err.endswith("Say which column it is with --columns, such as id=ref,text=label.\n")
    columns = "id=ref,title=label,text=words+more"
    assert debater("index", "odd.csv", "--columns", columns).code == 0
    assert debater("get", "odd", "1", "--json").json["text"] == "Sleeps two.\n\nLight"
    kept = manifest("odd")["corpus"]["columns"]
    assert kept == {"id": ["ref"], "title": ["label"], "text": ["words", "more"]}

    Path("next.csv").write_text(ODD.replace("1,Alta", "2,Nest"))
    assert debater("add", "odd", "next.csv", "--json").json["added"] == 1
    assert debater("get", "odd", "2", "--json").json["title"] == "Nest"
    assert debater("index", "--update", "odd.csv", "--json").json["unchanged"] == 1
    assert manifest("odd")["corpus"]["columns"] == kept
    Path("usual.jsonl").write_text('{"id": 3, "text": "Ember"}\n')
    assert debater("add", "odd", "usual.jsonl", "--json").json["added"] == 1

    changed = debater("index", "--update", "odd.csv", "--columns", "id=ref,text=words", "--json").json
    assert (changed["updated"], changed["deleted"]) == (1, 1)
    assert manifest("odd")["corpus"]["columns"] == {"id": ["ref"], "text": ["words"]}


def test_cells_of_a_list_are_filtered_and_counted_by_their_elements(debater: Debater, workdir: Path) -> None:
    Path("shop.csv").write_text("sku,name,description,tags\n1,Alta,Sleeps two.,light|dry\n2,Rill,Filters.,light\n")
    told = debater("index", "shop.csv").err
    assert "tags: values like 'light|dry' are kept as text: read them as lists with --columns list=tags." in told
    assert "as lists with --columns list=tags." in debater("info", "shop").out
    made = debater("index", "shop.csv", "--columns", "list=tags", "--update")
    assert "Read sku as id, name as title, description as text, tags as list.\n" in made.err
    assert manifest("shop")["corpus"]["columns"]["list"] == ["tags"]
    assert "tags   text, lists  light, dry" in debater("info", "shop").out
    Path("more.csv").write_text("sku,name,description,tags\n3,Nest,Warm.,warm; light\n")
    assert debater("add", "shop", "more.csv", "--json").json["added"] == 1
    hits = debater("search", "x", "--index", "shop", "--where", "tags has 'light'", "--json").json["hits"]
    assert sorted(hit["metadata"]["tags"] for hit in hits) == [["light"], ["light", "dry"], ["warm", "light"]]
    (tags,) = debater("facets", "shop", "tags", "--json").json["fields"]
    assert tags["values"] == [["light", 3], ["dry", 1], ["warm", 1]]


def test_ready_embeddings_remember_the_columns(debater: Debater, workdir: Path) -> None:
    Path("odd.csv").write_text(ODD)
    encode = ("index", "odd.csv", "--encode-only", "--output", "vectors", "--columns", "id=ref,text=words")
    assert debater(*encode).code == 0
    assert debater("index", "odd.csv", "--embeddings", "vectors").code == 0
    assert manifest("odd")["corpus"]["columns"] == {"id": ["ref"], "text": ["words"]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("sku", "--columns takes pairs such as id=sku,title=name, not 'sku'."),
        ("id=a,id=b", "--columns takes pairs such as id=sku,title=name, not 'id=a,id=b'."),
        ("price=x", "--columns cannot be price=x."),
        ("id=", "--columns cannot be id=."),
        ("id=sku+name", "The id is one column, not 2."),
        ("id=ref", "products.csv, line 2: there is no column 'ref'."),
    ],
)
def test_columns_that_cannot_be_are_a_sentence(debater: Debater, workdir: Path, columns: str, message: str) -> None:
    Path("products.csv").write_text(PRODUCTS)
    outcome = debater("index", "products.csv", "--columns", columns)
    assert outcome.code == 2
    assert outcome.err.startswith(f"Error: {message}\n")


def test_a_single_text_is_a_corpus(debater: Debater, index: Path) -> None:
    Path("today.md").write_text("# Today\n\nRain on the wing.\n")
    assert debater("add", "flight", "today.md", "--json").json["added"] == 1
    found = debater("get", "flight", "today.md", "--json").json
    assert (found["title"], found["text"], found["metadata"]["path"]) == ("Today", "Rain on the wing.", "today.md")
    assert debater("index", "today.md").code == 0
    assert manifest("today")["corpus"]["documents"] == 1


def test_bad_input_is_told_at_once_or_left_out_when_asked(debater: Debater, index: Path) -> None:
    Path("bad.jsonl").write_text('{"id": 1, "text": "a"}\nnope\n{"id": 2}\n')
    told = "bad.jsonl, line 2: this is not JSON; line 3: there is no text"
    refused = debater("index", "bad.jsonl")
    assert refused.code == 2
    assert f"Error: {told}.\n" in refused.err
    assert refused.err.endswith("Or leave out what cannot be read, with --skip-bad.\n")
    assert not Path("indexes/bad/manifest.json").exists()

    assert debater("add", "flight", "bad.jsonl").code == 2
    added = debater("add", "flight", "bad.jsonl", "--skip-bad", "--json")
    assert added.json["added"] == 1
    warning = f"Bad rows that were left out: 2 ({told})."
    assert f"Warning: {warning}\n" in added.err
    assert manifest("flight")["warnings"] == [warning]
    assert debater("index", "bad.jsonl", "--skip-bad").code == 0
    assert manifest("bad")["warnings"] == [warning]
    again = debater("index", "bad.jsonl", "--update")
    assert again.code == 2
    assert again.err.endswith(
        "\nOr leave out what cannot be read, with --skip-bad. The index does not remember this option.\n"
    )
    assert debater("index", "bad.jsonl", "--update", "--skip-bad").code == 0


@pytest.mark.parametrize(
    "command",
    ["search wing -i flight", "info flight", "get flight noise", "facets flight year", "verify flight",
     "compact flight", "delete flight noise", "drop flight --yes"],
)  # fmt: skip
def test_an_index_is_found_by_its_name(debater: Debater, index: Path, command: str) -> None:
    outcome = debater(*command.split())
    assert outcome.code == 0, outcome.err


def test_a_folder_here_comes_before_a_name_in_indexes(debater: Debater, index: Path) -> None:
    assert debater("index", "flight.jsonl", "--output", "flight").code == 0
    assert debater("info", "flight", "--json").json["index"] == "flight"
    Path("other").mkdir()
    assert debater("index", "flight.jsonl", "--output", "indexes/other").code == 0
    assert debater("info", "other", "--json").json["index"] == "indexes/other"
    assert debater("index", "--update", "flight.jsonl", "--output", "other", "--json").json["index"] == "indexes/other"


@pytest.mark.parametrize(
    "command",
    ["search wing -i none", "info none", "mine flight.jsonl -i none", "serve none", "mcp none", "doctor -i none",
     "add none flight.jsonl", "index --update flight.jsonl --output none"],
)  # fmt: skip
def test_an_index_that_is_nowhere_is_told_with_both_places(debater: Debater, index: Path, command: str) -> None:
    outcome = debater(*command.split())
    assert outcome.code == 2
    assert outcome.err == (
        "Error: The index none does not exist, and indexes/none does not either.\nIndexes: indexes/flight.\n"
    )
    Path("none").mkdir()
    assert debater(*command.split()).err.startswith("Error: none is not an index, and indexes/none does not exist.\n")
