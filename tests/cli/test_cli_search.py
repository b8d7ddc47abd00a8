import io
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from debater_search.cli import main
from debater_search.cli.hits import highlighted, show_hits
from debater_search.cli.interrupts import interruptible
from debater_search.cli.options import Mode
from debater_search.cli.output import Output, results
from debater_search.cli.prompt import converse
from debater_search.cli.search import Search
from debater_search.data import read_run, read_tag
from debater_search.search import QueryMarks, SearchEngine
from debater_search.search.snapshot import Snapshot
from debater_search.store.lexical import ENGLISH
from debater_search.types import Hit
from debater_search.vectors.faiss.index import FaissIndex
from tests.cli.support import Debater
from tests.cli.test_cli_output import Terminal


def test_a_query_shows_rank_score_title_id_and_snippet(debater: Debater, index: Path) -> None:
    outcome = debater("search", "wing stalls", "-k", "2")
    assert outcome.code == 0
    first, snippet = outcome.out.splitlines()[:2]
    assert first.split()[0] == "1"
    assert first.endswith("Stall [stall]")
    assert snippet.strip() == "A wing stalls at low speed."
    assert outcome.err == f"Searching {index}.\n"


def test_json_is_one_document_with_whole_hits_and_timings(debater: Debater, index: Path) -> None:
    answer = debater("search", "loud propellers", "--index", str(index), "--json").json
    assert list(answer) == ["query", "hits", "timings"]
    assert answer["query"] == "loud propellers"
    assert list(answer["hits"][0]) == ["rank", "id", "score", "title", "text", "snippet", "metadata"]
    assert answer["hits"][0]["id"] == "noise"
    assert answer["hits"][0]["metadata"] == {"year": 1958}
    assert set(answer["timings"]) == {"load", "encode", "retrieve", "fetch"}


def test_more_hits_than_documents_are_all_documents(debater: Debater, index: Path) -> None:
    assert len(debater("search", "wing", "-k", "1000", "--json").json["hits"]) == 3


def test_lexical_search_needs_no_model(debater: Debater, index: Path, fake_model: list[dict[str, Any]]) -> None:
    assert debater("search", "boundary", "--mode", "lexical", "--json").json["hits"][0]["id"] == "layer"
    assert fake_model == []


def test_explain_shows_where_the_time_went(debater: Debater, index: Path) -> None:
    out = debater("search", "wing", "--explain").out
    assert [line.split()[0] for line in out.splitlines()[-4:]] == ["load", "encode", "retrieve", "fetch"]


def test_explain_gives_the_places_of_every_hit(debater: Debater, index: Path) -> None:
    lines = debater("search", "propellers", "--mode", "hybrid", "--explain").out.splitlines()
    explained = [line.split() for line in lines if " · " in line]
    assert [(line[0], line[3]) for line in explained] == [("dense", "1)"), ("dense", "2)"), ("dense", "3)")]
    assert [line[5:9] for line in explained[1:]] == 2 * [["lexical", "–"]]
    assert explained[0][5] == "lexical"
    assert explained[0][8] == "1)"
    hit = debater("search", "propellers", "--explain", "--json").json["hits"][0]
    assert list(hit)[-1] == "explanation"
    assert hit["explanation"]["dense"] == {"rank": 1, "score": hit["score"]}
    assert hit["explanation"]["lexical"]["rank"] == 1
    assert hit["explanation"]["steps"] is None


def test_every_stored_step_is_explained_and_can_rescore(debater: Debater, index: Path, corpus: Path) -> None:
    assert debater("index", str(corpus), "--all-steps", "--output", "steps").code == 0
    search = ("search", "wing", "--index", "steps", "--json", "--explain")
    for hit in debater(*search, "--rescore", "max").json["hits"]:
        assert len(hit["explanation"]["steps"]) == 3
        assert hit["score"] == pytest.approx(max(hit["explanation"]["steps"]), abs=1e-6)
    assert "· steps 0." in debater("search", "wing", "--index", "steps", "--explain").out


def test_rescoring_without_stored_steps_is_refused_before_the_model_is_loaded(
    debater: Debater, index: Path, fake_model: list[dict[str, Any]]
) -> None:
    outcome = debater("search", "wing", "--rescore", "mean")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--all-steps" in outcome.err
    assert fake_model == []


def test_weights_decide_what_hybrid_search_shows_first(debater: Debater, index: Path) -> None:
    search = ("search", "propellers propellers wing wing wing wing", "--mode", "hybrid", "-k", "1", "--json")
    first = {weights: debater(*search, "--weights", weights).json["hits"][0]["id"] for weights in ("1000,1", "1,1000")}
    assert first == {"1000,1": "layer", "1,1000": "noise"}


def test_documents_like_another_need_no_model(debater: Debater, index: Path, fake_model: list[dict[str, Any]]) -> None:
    answer = debater("search", "--like", "stall", "--json").json
    assert list(answer) == ["like", "hits", "timings"]
    assert set(answer["timings"]) == {"load", "encode", "retrieve", "fetch"}
    assert [hit["id"] for hit in answer["hits"]] == ["layer", "noise"]
    assert debater("search", "--like", "stall", "--where", "year > 1900").out.splitlines()[0].endswith("[noise]")
    assert fake_model == []


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_line_of_100000_words_is_a_query(debater: Debater, index: Path, mode: str) -> None:
    line = " ".join(["propellers", *(f"word{i}" for i in range(100_000))])
    outcome = debater("search", "--mode", mode, "--json", stdin=line + "\n")
    assert outcome.code == 0
    assert "noise" in [hit["id"] for hit in json.loads(outcome.out)["hits"]]


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_where_keeps_to_the_documents_that_pass(debater: Debater, index: Path, mode: str) -> None:
    search = ("search", "loud wing", "--mode", mode, "--json", "--where")
    assert [hit["id"] for hit in debater(*search, "year <= 1958 and not id = 'x'").json["hits"]] == ["noise"]
    assert {hit["id"] for hit in debater(*search, "year is missing").json["hits"]} == {"stall", "layer"}
    assert debater("search", "wing", "--mode", mode, "--where", "year > 2020").out == "No document matches.\n"


def test_where_filters_a_file_of_queries_too(debater: Debater, index: Path) -> None:
    Path("q.jsonl").write_text('{"_id": "q1", "text": "wing"}\n', encoding="utf-8")
    assert debater("search", "--queries", "q.jsonl", "--run", "out.trec", "--where", "title = 'Stall'").code == 0
    assert list(read_run("out.trec")["q1"]) == ["stall"]


def test_a_wrong_filter_is_a_sentence_before_the_model_is_loaded(
    debater: Debater, index: Path, fake_model: list[dict[str, Any]]
) -> None:
    for where, word in [("yer = 1", "year"), ("year = 1 and", "character 13"), ("", "empty"), ("id='\udcff'", "UTF-8")]:
        outcome = debater("search", "wing", "--where", where)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.count("Error: ") == 1
        assert word in outcome.err
    assert fake_model == []


def test_a_comparison_that_is_never_true_is_spoken_of_once(debater: Debater, index: Path) -> None:
    note = "Warning: The field 'year' holds numbers, so that `year > 'soon'` is never true.\n"
    outcome = debater("search", "wing", "--mode", "lexical", "--where", "year > 'soon'", "--json")
    assert outcome.json["hits"] == []
    assert outcome.err.count(note) == 1
    outcome = debater("search", "--mode", "lexical", "--where", "year > 'soon'", stdin="wing\nwing\n")
    assert outcome.err.count(note) == 1
    engine = SearchEngine.open(index)
    answer = engine.answer("wing", mode="lexical", where="year > 'soon'")
    assert answer.notes == engine.answer_batch(["wing"], mode="lexical", where="year > 'soon'").notes == (note[9:-1],)
    assert engine.answer("wing", mode="lexical", where="year > 1900").notes == ()


def test_a_query_that_is_an_id_brings_the_command_that_shows_it(debater: Debater, index: Path) -> None:
    noted = "The query is the id of a document: 'noise'."
    outcome = debater("search", "noise", "--mode", "lexical")
    assert (outcome.code, outcome.out) == (0, "No document matches.\n")
    assert "whole words of title and text" in outcome.err
    assert noted in outcome.err
    assert outcome.err.endswith(f"\ndebater get {index} noise\n")
    outcome = debater("search", "--mode", "lexical", "--json", stdin="noise\npropellers\n")
    assert outcome.err.count(noted) == 1


def test_words_of_a_filter_do_not_become_options(debater: Debater, index: Path) -> None:
    outcome = debater("search", "wing", "--mode", "lexical", "--where", "year stalls 3")
    assert outcome.code == 2
    assert '"has" "contains" "like"' in outcome.err
    assert "--like" not in outcome.err


def test_the_prompt_filters_until_told_otherwise(debater: Debater, index: Path) -> None:
    lines = [":where year > 1900", "wing", ":where yer = 1", "wing", ":where", "wing"]
    outcome = debater(
        "search", "--json", "--mode", "lexical", stdin="\n".join([*lines, ""]).replace("wing", "loud wing")
    )
    assert [len(json.loads(line)["hits"]) for line in outcome.out.splitlines()] == [1, 1, 3]
    assert outcome.err.count("Error: ") == 1
    assert outcome.code == 2


def test_the_device_reaches_the_index_own_model(
    debater: Debater, index: Path, fake_model: list[dict[str, Any]]
) -> None:
    assert debater("search", "wing", "--device", "cpu").code == 0
    assert fake_model == [{"model": "debater-small", "device": "cpu"}]


def test_the_index_is_opened_once(
    debater: Debater, index: Path, fake_model: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    real = Snapshot.open

    def count(folder: Path, device: str) -> Snapshot:
        opened.append(folder)
        return real(folder, device)

    monkeypatch.setattr(Snapshot, "open", count)
    for options in ([], ["--device", "cpu"], ["--model", "debater-small"], ["--mode", "lexical"]):
        opened.clear()
        assert debater("search", "wing", *options).code == 0
        assert opened == [index]


def test_exact_is_asked_of_the_index(debater: Debater, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    real = FaissIndex.search

    def search(self: FaissIndex, *arguments: Any, exact: bool = False) -> Any:
        asked.append(exact)
        return real(self, *arguments, exact=exact)

    monkeypatch.setattr(FaissIndex, "search", search)
    Path("q.jsonl").write_text('{"_id": "q1", "text": "wing"}\n', encoding="utf-8")
    for arguments in (["wing"], ["--like", "stall"], ["--queries", "q.jsonl", "--run", "out.trec"]):
        for exact in (False, True):
            asked.clear()
            assert debater("search", *arguments, *(["--exact"] if exact else []), "--force").code == 0
            assert asked == [exact]


def test_a_model_named_anew_is_loaded_as_the_index_was_made(
    debater: Debater, index: Path, fake_model: list[dict[str, Any]]
) -> None:
    manifest = json.loads((index / "manifest.json").read_text(encoding="utf-8"))
    manifest["encoder"]["recipe"] = {"model": "/old/place", "base_model": "base", "max_length": 128}
    (index / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert debater("search", "wing", "--model", "debater-small").code == 0
    assert debater("search", "wing", "--model", "debater-small", "--base-model", "moved").code == 0
    assert [asked["base_model"] for asked in fake_model] == ["base", "moved"]
    assert {asked["max_length"] for asked in fake_model} == {128}


def test_a_model_that_did_not_make_the_index_is_refused(debater: Debater, index: Path) -> None:
    assert debater("search", "wing", "--model", "debater-small").code == 0
    outcome = debater("search", "wing", "--model", "other", "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert "other" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([" "], "empty"),
        (["\udcff"], "UTF-8"),
        (["wing", "--index", "indexes/none"], "indexes/flight"),  # lists those that exist
        (["wing", "--mode", "psychic"], "psychic"),
        (["wing", "--queries", "q.jsonl", "--run", "r"], "--queries"),
        (["--queries", "q.jsonl"], "--run"),
        (["wing", "--like", "stall"], "--like"),
        (["--like", "nobody"], "nobody"),
        (["wing", "--weights", "2"], "two numbers"),
        (["wing", "--weights", "a,b"], "two numbers"),
        (["wing", "--weights", "0,1"], "above 0"),
        (["wing", "--rescore", "median"], "median"),
        (["wing", "--rescore", "max", "--mode", "lexical"], "no thinking steps"),
        (["--queries", "none.jsonl", "--run", "r"], "none.jsonl"),
    ],
)
def test_an_impossible_search_is_a_sentence(debater: Debater, index: Path, arguments: list[str], word: str) -> None:
    outcome = debater("search", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert word in outcome.err
    assert "Traceback" not in outcome.err


def test_without_any_index_the_way_to_one_is_shown(debater: Debater) -> None:
    outcome = debater("search", "wing")
    assert outcome.code == 2
    assert "debater index" in outcome.err


def test_a_name_that_is_nearly_that_of_an_index_brings_it(debater: Debater, index: Path) -> None:
    outcome = debater("search", "wing", "--index", "fligth")
    assert outcome.code == 2
    assert outcome.err.endswith("\nDid you mean flight? Indexes: indexes/flight.\n")


def test_a_half_written_index_is_refused(debater: Debater, index: Path) -> None:
    (index / "manifest.json").unlink()
    outcome = debater("search", "wing", "--index", str(index))
    assert outcome.code == 2
    assert "unfinished" in outcome.err


def test_a_file_of_queries_becomes_a_run_that_is_not_overwritten(debater: Debater, index: Path) -> None:
    queries = [{"_id": "q1", "text": "loud propellers"}, {"_id": "q2", "text": "boundary layer"}]
    Path("q.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries), encoding="utf-8")
    batch = ("search", "--queries", "q.jsonl", "--run", "out.trec", "-k", "2")
    assert debater(*batch, "--json").json["queries"] == 2
    assert {line.split()[5] for line in Path("out.trec").read_text().splitlines()} == {"debater-small"}
    run = read_run("out.trec")
    assert {query: max(found, key=found.__getitem__) for query, found in run.items()} == {"q1": "noise", "q2": "layer"}
    assert [len(found) for found in run.values()] == [2, 2]
    assert debater(*batch).code == 2
    assert read_run("out.trec") == run
    for mode, system in (("hybrid", "debater-small+bm25"), ("lexical", "bm25")):
        assert debater(*batch, "--force", "--mode", mode).code == 0
        assert read_tag("out.trec") == system


def test_piped_lines_are_answered_one_by_one_with_the_model_loaded_once(
    debater: Debater, index: Path, fake_model: list[dict[str, Any]]
) -> None:
    outcome = debater("search", "--json", stdin="loud propellers\n\n:k 1\n:mode lexical\nboundary\n:q\nwing\n")
    assert outcome.code == 0
    answers = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(answer["query"], len(answer["hits"])) for answer in answers] == [("loud propellers", 3), ("boundary", 1)]
    assert len(fake_model) == 1


def test_the_prompt_shows_what_is_like_a_document(debater: Debater, index: Path) -> None:
    outcome = debater("search", "--json", stdin=":like stall\n:like  layer \n")
    assert outcome.code == 0
    answers = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(answer["like"], len(answer["hits"])) for answer in answers] == [("stall", 2), ("layer", 2)]


def test_the_prompt_shows_what_differs_and_says_what_changed(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = f"id like '{50 * 'x'}%'"
    lines = [
        ":k 1",
        ":mode lexical",
        ":where year > 1950",
        ":where yeer > 1",
        f":where {long}",
        ":where",
        ":mode dense",
    ]
    monkeypatch.setattr("sys.stdin", Terminal("\n".join([*lines, ":q", ""])))
    capsys.readouterr()
    assert main(["search", "-i", str(index)]) == 0
    told = capsys.readouterr().err
    assert re.findall(r"query(?: \[.*?\])?> ", told) == [
        "query> ",
        "query> ",
        "query [lexical]> ",
        "query [lexical, year > 1950]> ",
        "query [lexical, year > 1950]> ",
        f"query [lexical, {long[:40]}…]> ",
        "query [lexical]> ",
        "query> ",
    ]
    for said in ("1 hit per query", "The mode is lexical", "Only documents with year > 1950", "All documents are"):
        assert said in told


class Interrupted(Search):
    """Ctrl-C comes during the query `slow`."""

    def answer(self, query: str) -> None:
        if query == "slow":
            signal.raise_signal(signal.SIGINT)
        super().answer(query)


def test_ctrl_c_during_a_query_cancels_it_and_the_prompt_stays(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("sys.stdin", Terminal("slow\nslow\npropellers\n"))
    with results(as_json=True) as out, SearchEngine.open(index) as engine:
        assert converse(Interrupted(engine, out, mode=Mode.lexical), out) == 0
    captured = capsys.readouterr()
    assert captured.err.count("\nThe query was cancelled.\n") == 2
    assert [hit["id"] for hit in json.loads(captured.out)["hits"]] == ["noise"]
    assert signal.getsignal(signal.SIGINT) == before


def test_ctrl_c_ends_a_search_that_reads_a_pipe(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("slow\nwing\n"))
    with (
        results(as_json=True) as out,
        SearchEngine.open(index) as engine,
        interruptible(),
        pytest.raises(KeyboardInterrupt),
    ):
        converse(Interrupted(engine, out, mode=Mode.lexical), out)


@pytest.mark.parametrize("line", [":q", ":quit", ":exit"])
def test_the_prompt_is_left_by_the_usual_words(debater: Debater, index: Path, line: str) -> None:
    outcome = debater("search", "--mode", "lexical", "--json", stdin=f"wing\n{line}\nwing\n")
    assert (outcome.code, len(outcome.out.splitlines())) == (0, 1)


def test_words_that_other_prompts_obey_are_searched_and_bring_a_hint(
    debater: Debater, index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hint = ":help shows commands, :q quits.\n"
    assert hint not in debater("search", "--mode", "lexical", stdin="exit\n").err
    monkeypatch.setattr("sys.stdin", Terminal("help\nexit\nquit\nhelp me\n:q\n"))
    assert main(["search", "--mode", "lexical", "--json", "-i", str(index)]) == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["query"] for line in captured.out.splitlines()] == ["help", "exit", "quit", "help me"]
    assert captured.err.count(hint) == 3


def test_help_shows_every_command_of_the_prompt_in_a_line_each(debater: Debater, index: Path) -> None:
    outcome = debater("search", "--json", stdin=":help\n:fly\n")
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    shown, error = lines[1:-2], lines[-2:]
    assert error == ["Error: There is no command ':fly'.", ":help shows all commands."]
    assert {line.split()[0] for line in shown} == {":k", ":mode", ":where", ":like", ":help", ":q"}
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "line",
    [":like", ":like nobody", ":like \udcff", ":k 0", ":k many", ":k " + "9" * 5000, ":mode psychic", ":fly", "\udcff"],
)
def test_a_bad_line_fails_alone(debater: Debater, index: Path, line: str) -> None:
    outcome = debater("search", "--json", stdin=f"wing\n{line}\nwing\n")
    assert outcome.code == 2
    assert len(outcome.out.splitlines()) == 2
    assert outcome.err.count("Error: ") == 1


def test_the_words_of_the_query_are_marked_whatever_their_endings() -> None:
    marked = highlighted("The stalling Wings of the layer", QueryMarks("how do wings stall", ENGLISH))
    assert [marked.plain[span.start : span.end] for span in marked.spans] == ["stalling", "Wings"]


def test_hostile_documents_cannot_command_the_terminal() -> None:
    stream = Terminal()
    show_hits(
        Output(stream, as_json=False),
        QueryMarks("x", ENGLISH),
        [Hit(1, "\x1b[2J", 0.5, "[red]\x1b]0;t\x07", "", "a\x9bb")],
    )
    assert not {"\x1b[2J", "\x07", "\x9b"} & set(stream.getvalue().replace("\x1b[", "\x1b[\n").split("\n"))
    assert "[red]" in stream.getvalue()
    assert "\x1b]0" not in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()
