"""The files of the page."""

from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles


class Page(StaticFiles):
    """The page's own files, and those that it shares with reports; browsers ask each time whether they are current."""

    def __init__(self) -> None:
        shared = ("debater_search.reports", "page/shared")
        super().__init__(directory=Path(__file__).parent / "page", packages=[shared], html=True)

    def file_response(self, *arguments: Any, **more: Any) -> Response:
        """A file; modules of different releases must not meet in a browser's cache."""
        response = super().file_response(*arguments, **more)
        response.headers["Cache-Control"] = "no-cache"
        return response
