"""Is the server alive, is it ready, and what has it counted."""

from fastapi import APIRouter, Response

from debater_search.serving.body import JsonResponse
from debater_search.serving.callers import Watcher
from debater_search.serving.routes import errors
from debater_search.serving.routes.service import TheService
from debater_search.serving.schemas import Health

router = APIRouter(tags=["health"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", response_model=Health)
async def alive() -> Response:
    """Say that the server runs."""
    return JsonResponse({"status": "ok"})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", response_model=Health, responses={503: {"model": Health, "description": "Not ready; why."}})
async def ready(service: TheService) -> Response:
    """Say whether every index can be searched and the server is not stopping."""
    reason = service.unready
    if reason is None:
        return JsonResponse({"status": "ok"})
    return JsonResponse({"status": "unready", "reason": reason}, 503, {"Retry-After": "2"})


@router.get(
    "/metrics",
    response_class=Response,
    responses={**errors(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(service: TheService, _: Watcher) -> Response:
    """Show counts and times in Prometheus's format."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
