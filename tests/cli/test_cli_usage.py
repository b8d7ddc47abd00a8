"""Commands that cannot be parsed: one sentence, what to do, exit code 2."""

import pytest

from tests.cli.support import Debater


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("eval task --mode fuzzy", "--mode is 'fuzzy', but it must be dense, lexical or hybrid.\ndebater eval --help"),
        ("search q --mode lexicla", "--mode is 'lexicla', but it must be dense, lexical or hybrid.\nDid you mean lexi"),
        ("keys revok", "The value is 'revok', but it must be add, list or revoke.\nDid you mean revoke?"),
        ("eval task --rerank-depth x", "--rerank-depth is 'x', but it must be a whole number.\ndebater eval --help"),
        ("serve --port 99999999", "--port is '99999999', but it must be at most 65,535.\ndebater serve --help"),
        ("eval task --metric ndcg", "There is no option --metric.\ndebater eval --help lists the options."),
        ("eval task --analyze steps", "There is no option --analyze.\nDid you mean --analyse?"),
        ("eval task --base bm25", "There is no option --base.\nDid you mean --base-model or --baseline?"),
        ("eval task --baseline", "--baseline needs a value.\ndebater eval --help explains it."),
        ("get", "INDEX is missing.\ndebater get --help shows how it is used."),
        ("evall task", "There is no command evall.\nDid you mean eval?"),
        ("help", "There is no command help.\ndebater --help lists the commands."),
        (
            "search shoe boot",
            'The query has several words: shoe boot.\nPut the query in quotes: debater search "shoe bo',
        ),
        ("search $a b c", "The query has several words: $a b c.\nPut the query in quotes: debater search '$a b c'"),
        ("list a b", "Unexpected argument: b.\ndebater list --help shows how it is used."),
        ("xyz", "There is no command xyz.\ndebater --help lists the commands."),
    ],
)
def test_a_mistake_of_usage_is_a_sentence_and_a_hint(debater: Debater, typed: str, said: str) -> None:
    outcome = debater(*typed.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: {said}")
    assert outcome.err.count("\n") == 2


def test_a_value_that_is_no_choice_brings_the_nearest_one(debater: Debater) -> None:
    outcome = debater("eval", "task", "--analyse", "stepz")
    assert outcome.code == 2
    assert outcome.err == (
        "Error: --analyse is 'stepz', but it must be steps, cosines, last, dimensions, indexes, lengths, weights, "
        "training, depth or all.\nDid you mean steps?\n"
    )


@pytest.mark.parametrize("command", [[], ["search"], ["keys"]], ids=["program", "search", "keys"])
def test_h_is_short_for_help(debater: Debater, command: list[str]) -> None:
    short, long = debater(*command, "-h"), debater(*command, "--help")
    assert (short.code, short.err) == (0, "")
    assert short.out == long.out != ""


@pytest.mark.parametrize("command", ["serve", "mcp", "get", "delete", "facets", "eval", "train"])
def test_usage_says_once_that_an_argument_may_be_repeated(debater: Debater, command: str) -> None:
    usage = next(line for line in debater(command, "--help").out.splitlines() if "Usage:" in line)
    assert "..." in usage
    assert "…" not in usage
