"""A hub that does not answer holds nothing up."""

import socket
import time

import huggingface_hub.constants
import pytest

from debater_search.encoder.loading import hub
from debater_search.errors import UnavailableError


def test_a_network_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and says nothing
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "HUB_SECONDS", 0.2)
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="the hub could not be asked for it"):
            hub.locate("somebody/silent")
        assert time.monotonic() - began < 10
        silent.settimeout(5)
        silent.accept()[0].close()  # it was asked
