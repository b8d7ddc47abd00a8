"""Words of many scripts: what is written is found, whatever its spelling, and what is not written is not."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from debater_search.errors import InvalidError
from debater_search.search.marks import QueryMarks
from debater_search.store.corpus import write_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.edits import edit_documents, index_words, settle
from debater_search.store.lexical import ANY, ENGLISH, Language, language_of
from debater_search.store.manifest import MANIFEST_NAME
from debater_search.store.words import _SIMPLE, _SIMPLE_WORD, _word_pattern, folded, indexed
from debater_search.types import Document
from tests.indexing.changed_index import as_before_fields

TEXTS = {
    "zh": "我们在北京大学研究机器学习和信息检索",
    "zh2": "这只黑猫喜欢图书馆",
    "ja": "東京タワーで検索エンジンのテストを行う",
    "ja2": "がっこうへ行く。ﾗｰﾒﾝとカメラ",
    "ko": "서울대학교에서 정보검색을 연구한다",
    "th": "การค้นหาข้อมูลภาษาไทย",
    "th2": "อาหารไทยอร่อยมาก",
    "lo": "ພາສາລາວ",
    "my": "မြန်မာစာ",
    "km": "ភាសាខ្មែរ",
    "mix": "模型BERT训练",
    "hi": "हिन्दी की किताबें पढ़ना अच्छा है",
    "ta": "தமிழ் மொழி",
    "bn": "বাংলা ভাষা",
    "ar": "كِتَابٌ جَدِيدٌ في المكتبـــة",
    "fa": "می\u200cخواهم",
    "he": "שָׁלוֹם",
    "yo": "èdè Yorùbá ọ̀rọ̀ ẹ̀kọ́",
    "vi": "Tiếng Việt đẹp",
    "tr": "İstanbul İNŞAAT ışık",
    "de": "Die Straße über Größe",
    "el": "Ὀδυσσεύς ΚΌΣΜΟΣ",
    "ru": "Ёлка Москва",
    "pl": "Łódź",
    "fr": "l'e\u0301te\u0301 à l\u2019école",
    "pdf": "the \ufb01rst co\u00adoperation",
    "en": "an e-mail about wings",
}
QUERIES = {
    "北京大学": "zh",
    "检索": "zh",
    "索": "zh ja",
    "猫": "zh2",
    "馆": "zh2",
    "検索": "ja",
    "検索エンジン": "ja",
    "東京": "ja",
    "行う": "ja",
    "か\u3099っこう": "ja2",
    "ラーメン": "ja2",
    "ｶﾒﾗ": "ja2",
    "서울": "ko",
    "검색": "ko",
    "서": "ko",
    "\u1109\u1165\u110b\u116e\u11af": "ko",
    "ค้นหา": "th",
    "ภาษาไทย": "th",
    "อาหาร": "th2",
    "ລາວ": "lo",
    "မြန်မာ": "my",
    "ខ្មែរ": "km",
    "bert": "mix",
    "训练": "mix",
    "किताबें": "hi",
    "कताब": "",
    "हिन्दी": "hi",
    "தமிழ்": "ta",
    "ভাষা": "bn",
    "كتاب": "ar",
    "كِتَاب": "ar",
    "المكتبة": "ar",
    "میخواهم": "fa",
    "שלום": "he",
    "ọ̀rọ̀": "yo",
    "ẹ̀kọ́": "yo",
    "oro": "yo",
    "yoruba": "yo",
    "tieng viet": "vi",
    "dep": "vi",
    "İstanbul": "tr",
    "istanbul": "tr",
    "İNŞAAT": "tr",
    "IŞIK": "tr",
    "STRASSE": "de",
    "strasse": "de",
    "grösse": "de",
    "ΟΔΥΣΣΕΥΣ": "el",
    "κόσμος": "el",
    "елка": "ru",
    "lodz": "pl",
    "été": "fr",
    "ecole": "fr",
    "first": "pdf",
    "cooperation": "pdf",
    "E-Mail": "en",
    "wing": "en",
    "?! …": "",
}


def written(path: Path, texts: Sequence[Document], language: Language = ENGLISH) -> DocumentStore:
    write_documents(path, texts, language=language)
    return DocumentStore(path)


def found(store: DocumentStore, query: str) -> set[str]:
    return set(store.ids([position for position, _ in store.search(query, 100)]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentStore]:
    path = tmp_path_factory.mktemp("scripts") / "documents.sqlite"
    store = written(path, [Document(id, text) for id, text in TEXTS.items()])
    yield store
    store.close()


@pytest.mark.parametrize(("query", "ids"), QUERIES.items())
def test_words_are_found_in_every_script_and_spelling(store: DocumentStore, query: str, ids: str) -> None:
    assert found(store, query) == set(ids.split())


@pytest.mark.parametrize(("query", "ids"), [item for item in QUERIES.items() if item[1]])
def test_what_is_found_is_marked_by_the_same_rules(query: str, ids: str) -> None:
    for id in ids.split():
        spans = QueryMarks(query, ENGLISH).spans(TEXTS[id])
        marked = folded("".join(TEXTS[id][start:stop] for start, stop in spans))
        assert marked.startswith(folded(query).replace("-", "").replace(" ", ""))
    assert QueryMarks(query, ENGLISH).spans("nothing of it – ничего") == []


def test_a_change_of_a_text_takes_its_words_along(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    before = [Document("a", "検索 Straße", "東京"), Document("b", "नमस्ते")]
    written_ = write_documents(path, before)
    with edit_documents(path, 1, written_.rows, written_.documents, written_.content) as edits:
        edits.put([Document("a", "図書館 ọ̀rọ̀", "大阪")])
    index_words(path)
    settle(path)
    store = DocumentStore(path)
    assert [found(store, query) for query in ("検索", "東京", "strasse")] == [set()] * 3
    assert [found(store, query) for query in ("図書館", "大阪", "oro", "नमस्ते")] == [{"a"}, {"a"}, {"a"}, {"b"}]
    assert store.language is ENGLISH


def test_a_word_that_comes_twice_in_a_query_counts_twice(tmp_path: Path) -> None:
    texts = ["wing lift", "heat layer", "heat flow", "layer theory", "none", "none at all"]
    store = written(tmp_path / "d.sqlite", [Document(str(n), text) for n, text in enumerate(texts)])
    once, often = (dict(store.search(query, 10)) for query in ("heat wing", "heat wing wing Wing wing wing"))
    assert often[0] == pytest.approx(5 * once[0])
    assert (often[1], often[2]) == (once[1], once[2])


def test_another_language_has_neither_english_stems_nor_stop_words(tmp_path: Path) -> None:
    texts = [Document("a", "Wien war so"), Document("b", "the wings")]
    english, other = written(tmp_path / "e.sqlite", texts), written(tmp_path / "o.sqlite", texts, ANY)
    assert (found(english, "wing"), found(other, "wing")) == ({"b"}, set())
    assert (found(english, "was so Zebra"), found(other, "was so Zebra")) == (set(), {"a"})
    assert QueryMarks("wing", ANY).spans("the wings") == []
    assert (english.language, other.language) == (ENGLISH, ANY)


def test_an_unknown_language_is_a_sentence() -> None:
    with pytest.raises(InvalidError, match=r"no language 'german'\. `language` is english .* or any"):
        language_of("german")


def test_a_database_of_before_keeps_its_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    written_ = write_documents(path, [Document("zh", "北京大学 Straße"), Document("en", "wings")])
    (tmp_path / MANIFEST_NAME).write_text('{"language": "english"}')
    as_before_fields(tmp_path)
    with edit_documents(path, 1, written_.rows, written_.documents, written_.content) as edits:
        edits.put([Document("new", "東京 Größe wing")])
        edits.delete(["en"])
    index_words(path)
    settle(path)
    store = DocumentStore(path)
    assert [found(store, query) for query in ("北京大学", "Straße", "größe", "wings")] == [
        {"zh"},
        {"zh"},
        {"new"},
        {"new"},
    ]
    assert [found(store, query) for query in ("北京", "strasse")] == [set(), set()]


@settings(max_examples=60, deadline=None)
@given(st.text(), st.text())
@example("\u0300a", "한\u0e31")
@example("0\U00040000", "")
def test_any_word_of_a_text_finds_and_marks_it(text: str, other: str) -> None:
    """The index, queries and marks cut every text alike."""
    store_ = sqlite3.connect(":memory:")
    store_.execute(f"CREATE VIRTUAL TABLE t USING fts5(text, tokenize='{ENGLISH.tokenizer}')")
    store_.execute("INSERT INTO t VALUES (?)", [indexed(f"{text} {other}")])
    for term in ENGLISH.terms(text):
        assert store_.execute("SELECT count(*) FROM t WHERE t MATCH ?", [term.expression]).fetchone() == (1,), term
    store_.close()
    assert bool(QueryMarks(text, ENGLISH).different(text)) == bool(ENGLISH.terms(text))


def test_texts_without_marks_and_runs_have_the_same_words_by_the_short_way() -> None:
    characters = [character for character in map(chr, range(0x3000)) if _SIMPLE.fullmatch(character)]
    assert {"é", "…", "—", "’"} <= set(characters)
    text = "".join(f"a{character}b {character}1 " for character in characters)
    assert [m.span() for m in _SIMPLE_WORD.finditer(text)] == [m.span() for m in _word_pattern().finditer(text)]
