"""A front desk whose four providers can be made to misbehave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User

from appointments.providers import transport
from appointments.sandbox.core import Sandbox
from tests.desk import Desk
from tests.faults.certificates import trusted
from tests.faults.rude import RudeServer
from tests.faults.rules import (
    Case,
    Listing,
)


@pytest.fixture
def rude(
    sandbox: Sandbox, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RudeServer]:
    """The four providers; behind TLS if the case of the test is about it."""
    params = request.node.callspec.params.values() if hasattr(request.node, "callspec") else ()
    tls = any(isinstance(one, Case | Listing) and one.fault.wants_tls for one in params)
    if tls:
        context = trusted().client_side()
        monkeypatch.setattr(transport, "_tls", lambda: context)
    server = RudeServer(sandbox, tls=tls)
    yield server
    server.stop()


@pytest.fixture
def desk(rude: RudeServer, staff: User) -> Desk:
    return Desk(rude, staff)
