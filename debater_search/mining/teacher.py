"""A reranker as the teacher of mined rows: its scores take the place of the search's."""

from collections.abc import Sequence

from debater_search.encoder.protocol import PairScorer
from debater_search.mining.candidates import Candidates
from debater_search.mining.questions import Question
from debater_search.mining.selection import Ranking
from debater_search.mining.settings import MiningSettings


class TaughtCandidates:
    """Other candidates, of whose window the first `settings.rerank_depth` are put in the order of a reranker.

    These alone may become negatives. Ranks before the window keep their order and the search's scores.
    """

    def __init__(self, candidates: Candidates, teacher: PairScorer, settings: MiningSettings) -> None:
        assert settings.rerank_depth is not None
        self.documents, self.texts = candidates.documents, candidates.texts
        self._candidates, self._teacher = candidates, teacher
        self._before, self._depth = settings.window[0] - 1, settings.rerank_depth

    def search(self, questions: Sequence[Question]) -> list[tuple[Ranking, list[float]]]:
        """As `Candidates.search`; positives are scored by the reranker too.

        Raises:
            DebaterError: the reranker gives a score that is not finite.

        """
        found = self._candidates.search(questions)
        return [self._taught(question, ranking) for question, (ranking, _) in zip(questions, found, strict=True)]

    def _taught(self, question: Question, ranking: Ranking) -> tuple[Ranking, list[float]]:
        positions = [position for position, _ in ranking[self._before :][: self._depth]]
        texts = [document.content for document in self.documents.read(positions)]
        scores = self._teacher.score(question.query, [*question.positives, *texts]).tolist()
        positives, others = scores[: len(question.positives)], scores[len(question.positives) :]
        read = sorted(zip(positions, others, strict=True), key=lambda hit: -hit[1])
        return ranking[: self._before] + read, positives
