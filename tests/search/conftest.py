import pytest

from debater_search.store.documents import DocumentStore
from tests.search.stores import PAPERS, stored


@pytest.fixture(scope="module", params=[True, False], ids=["table", "scan"])
def papers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DocumentStore:
    return stored(tmp_path_factory.mktemp("papers") / "documents.sqlite", PAPERS, table=request.param)
