"""The service of the application that a request came to."""

from typing import Annotated

from fastapi import Depends, Request

from debater_search.serving.service import Service


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]
