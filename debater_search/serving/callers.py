"""Who asks, and what they may do, as dependencies of routes."""

from typing import Annotated

from fastapi import Depends, Request

from debater_search.serving.errors import ApiError
from debater_search.serving.keys import SCOPES, Caller, Scope

ANYBODY = Caller("anybody", frozenset(SCOPES) - {"write"})
"""The caller where there are no keys. It may not write: other users of the machine, too, reach the port."""


def require(caller: Caller, scope: Scope) -> None:
    """Raise the 403 error unless the caller may do this."""
    if caller.may(scope):
        return
    if caller is ANYBODY:
        hint = f"Make a key (debater keys add NAME --scope {scope}), and start the server with the file of keys."
    else:
        hint = f"Use a key with the scope {scope}."
    raise ApiError(403, "missing_scope", f"This needs the scope {scope}.", hint)


class Needs:
    """A dependency of a route: the caller, who has a scope; any caller if it is None."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:
        """The caller of a request; the 403 error if the scope is missing."""
        caller: Caller = request.scope["caller"]
        if self.scope is not None:
            require(caller, self.scope)
        return caller


AnyCaller = Annotated[Caller, Depends(Needs(None))]
Searcher = Annotated[Caller, Depends(Needs("search"))]
Reader = Annotated[Caller, Depends(Needs("document"))]
Embedder = Annotated[Caller, Depends(Needs("embed"))]
RerankCaller = Annotated[Caller, Depends(Needs("rerank"))]
Writer = Annotated[Caller, Depends(Needs("write"))]
Judge = Annotated[Caller, Depends(Needs("judge"))]
Watcher = Annotated[Caller, Depends(Needs("metrics"))]
