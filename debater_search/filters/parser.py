"""Filters in words, `year >= 2020 and venue in ('ACL', 'SIGIR') and not lang = 'de'`, become trees.

    filter      = conjunction {"or" conjunction}
    conjunction = negation {"and" negation}
    negation    = "not" negation | "(" filter ")" | comparison
    comparison  = field ("=" | "!=" | "<" | "<=" | ">" | ">=") value
                | field ["not"] "in" "(" value {"," value} ")"
                | field ["not"] "between" value "and" value
                | field ["not"] "has" value
                | field ["not"] ("contains" | "like") text
                | field "is" ["not"] "missing"

A field is a plain word, with points for what lies in objects, or any name in `backquotes` or [brackets]. A value is
'text' or "text" (a quote within is doubled), a number, true or false. What they mean is in `filters.tree`.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, NoReturn

from debater_search.errors import InvalidError
from debater_search.filters import cures
from debater_search.filters.tree import Comparison, Filter, Junction, Missing, Not, Operator, Value

MAX_DEPTH = 8
MAX_COMPARISONS = 200
MAX_LENGTH = 10_000_000  # characters
MAX_NAME = 200  # characters
_SHOWN = 60  # characters of a filter in a message

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[+-]?(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+(?![\w.]))
      | (?P<string>'[^']*(?:''[^']*)*'|"[^"]*(?:""[^"]*)*")
      | (?P<name>`[^`]+`|\[[^]]+\])
      | (?P<word>[^\W\d][\w.-]*)
      | (?P<symbol><=|>=|!=|<>|==|[=<>(),])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_KEYWORDS = {"and", "or", "not", "in", "is", "true", "false"}
_OPERATORS: dict[str, Operator] = {
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<>": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_EXAMPLE = "An example: year >= 2020 and venue in ('ACL', 'SIGIR') and not lang = 'de'."


def parse_filter(expression: str) -> Filter:
    """The tree of a filter.

    Raises:
        InvalidError: the filter is no text, empty, wrong (the message says where), nested too deeply or too long.

    """
    require_filter(expression)
    if len(expression) > MAX_LENGTH:
        raise InvalidError(f"The filter is longer than {MAX_LENGTH:,} characters.", "Ask for less at once.")
    try:
        expression.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidError("The filter is not UTF-8 text.", "Check the terminal's or the file's encoding.") from None
    return _Parser(expression).parse()


def require_filter(expression: Any) -> None:
    """Raise InvalidError for what cannot be a filter: an empty text, or no text at all."""
    if not isinstance(expression, str):
        raise InvalidError(f"`where` is of type {type(expression).__name__}, not a text.", _EXAMPLE)
    if not expression.strip():
        raise InvalidError("The filter is empty.", _EXAMPLE)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


class _Parser:
    """Recursive descent over the tokens: one method per rule of the grammar.

    Messages quote words of the filter, since backquotes mark arguments, which become flags: `like` is --like.
    """

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._started = 0  # where the last comparison begins
        self._tokens = self._read_tokens()
        self._token = next(self._tokens)
        self._depth = 0
        self._comparisons = 0

    def parse(self) -> Filter:
        tree = self._filter()
        if self._token.kind != "end":
            self._fail('"and", "or" or the end is expected')
        return tree

    def _filter(self) -> Filter:
        return self._chain("or", self._conjunction)

    def _conjunction(self) -> Filter:
        return self._chain("and", self._negation)

    def _chain(self, word: Literal["and", "or"], operand: Callable[[], Filter]) -> Filter:
        operands = [operand()]
        while self._accept(word):
            operands.append(operand())
        return Junction(word, tuple(operands)) if len(operands) > 1 else operands[0]

    def _negation(self) -> Filter:
        if self._accept("not"):
            return self._deeper(lambda: Not(self._negation()))
        if self._accept("("):
            tree = self._deeper(self._filter)
            self._require(")")
            return tree
        return self._comparison()

    def _deeper(self, rule: Callable[[], Filter]) -> Filter:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidError(f"The filter is nested more than {MAX_DEPTH} deep.", "Write it with fewer parentheses.")
        tree = rule()
        self._depth -= 1
        return tree

    def _comparison(self) -> Filter:
        field = self._field()
        if self._accept("is"):
            present = self._accept("not")
            self._require("missing")
            return Not(Missing(field)) if present else Missing(field)
        if self._token.text in _OPERATORS:
            sign = _OPERATORS[self._step().text]
            return Comparison(field, sign, (self._value() if sign in ("=", "!=") else self._ordered(),))
        negative = self._accept("not")
        if self._accept("in"):
            return Comparison(field, "not in" if negative else "in", self._list())
        if self._accept("has"):
            return Comparison(field, "!=" if negative else "=", (self._value(),))
        if self._accept("between"):
            first = self._ordered()
            self._require("and")
            if isinstance(first, str) is not (self._token.kind == "string"):
                self._fail("two numbers or two texts are expected")
            tree: Filter = Comparison(field, "between", (first, self._ordered()))
        elif self._accept("contains"):
            tree = Comparison(field, "contains", (self._text(),))
        elif self._accept("like"):
            tree = Comparison(field, "like", (self._text(),))
        else:
            others = '"in" "between" "has" "contains" "like"'
            allowed = others if negative else f'= != < <= > >= {others} "is missing"'
            self._fail(f"one of {allowed} is expected")
        return Junction("and", (Not(Missing(field)), Not(tree))) if negative else tree

    def _list(self) -> tuple[Value, ...]:
        self._require("(")
        values = [self._value()]
        while self._accept(","):
            values.append(self._value())
        self._require(")")
        return tuple(values)

    def _ordered(self) -> Value:
        if self._word() in ("true", "false"):
            self._fail("a number or a text is expected, for true and false have no order")
        return self._value()

    def _text(self) -> Value:
        if self._token.kind != "string":
            self._fail("a text in quotes is expected", self._quoted())
        return self._value()

    def _field(self) -> str:
        quoted = self._token.kind == "name"
        if not quoted and (self._token.kind != "word" or self._word() in _KEYWORDS):
            self._fail("the name of a field is expected", cures.unquoted(self._token.text))
        self._comparisons += 1
        self._started = self._token.start
        if self._comparisons > MAX_COMPARISONS:
            raise InvalidError(f"The filter has more than {MAX_COMPARISONS} comparisons.", 'Try "in" with many values.')
        if len(self._token.text) > MAX_NAME:
            self._fail(f"the name of a field, of at most {MAX_NAME} characters, is expected")
        text = self._step().text
        return text[1:-1] if quoted else text

    def _value(self) -> Value:
        if self._token.kind == "string":
            text = self._step().text
            return text[1:-1].replace(2 * text[0], text[0])
        if self._word() in ("true", "false"):
            return self._step().text.lower() == "true"
        if self._token.kind != "number":
            self._fail("a value ('text', a number, true or false) is expected", self._quoted())
        number = _number(self._token.text)
        if not math.isfinite(number):
            self._fail("a smaller number is expected")
        self._step()
        return number

    def _word(self) -> str:
        """The token in lower case: keywords are understood in any case."""
        return self._token.text.lower()

    def _accept(self, word: str) -> bool:
        """Consume a keyword or symbol if it is the next token."""
        if self._word() != word:
            return False
        self._step()
        return True

    def _require(self, word: str) -> None:
        if not self._accept(word):
            self._fail(f'"{word}" is expected')

    def _step(self) -> _Token:
        token = self._token
        self._token = next(self._tokens)
        return token

    def _read_tokens(self) -> Iterator[_Token]:
        position = 0
        while match := _TOKEN.match(self._expression, position):
            yield _Token(str(match.lastgroup), match[match.lastgroup or 0], match.start(match.lastgroup or 0))
            position = match.end()
        start = len(self._expression) - len(self._expression[position:].lstrip())
        raise self._wrong(start, "it is neither a name, a number, a closed string nor an operator")

    def _quoted(self) -> str:
        """What to do about a word in the place of a text."""
        if self._token.kind != "word" or self._word() in _KEYWORDS:
            return ""
        return cures.quoted(self._expression, self._started, self._token.start)

    def _fail(self, expected: str, cure: str = "") -> NoReturn:
        found = f"not {_shortened(self._token.text)}" if self._token.text else "but the filter ends"
        raise self._wrong(self._token.start, f"{expected}, {found}", cure)

    def _wrong(self, position: int, what: str, cure: str = "") -> InvalidError:
        understood = self._expression[:position].strip()
        shown = "…" + understood[-_SHOWN:] if len(understood) > _SHOWN else understood
        cure = cures.habit(self._expression, self._started, position) or cure or cures.at(self._expression, position)
        return InvalidError(
            f"The filter is wrong at character {position + 1}: {what}.",
            cure or (f"Understood so far: {shown}" if shown else _EXAMPLE),
        )


def _shortened(token: str) -> str:
    return token if len(token) <= _SHOWN else f"{token[:_SHOWN]}…"


def _number(text: str) -> int | float:
    """The number that a token spells; integers beyond SQLite's 64 bits become floats."""
    if len(text) <= 20 and text.lstrip("+-").isdigit() and -(2**63) <= int(text) < 2**63:
        return int(text)
    return float(text)
