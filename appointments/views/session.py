"""Coming, leaving, and the language in between."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import logout
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from appointments import languages
from appointments.views.request import StaffRequest


class LoginForm(AuthenticationForm):
    """Django's own, with one message for everything that can be wrong."""

    error_messages = {  # noqa: RUF012 - Django's way to declare them
        "invalid_login": gettext_lazy("The username or the password is not right."),
        "inactive": gettext_lazy("The username or the password is not right."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = _("Username")
        self.fields["password"].label = _("Password")


@require_http_methods(["GET", "HEAD", "POST"])
def leave(request: StaffRequest) -> HttpResponse:
    """End the session; a mere link only asks whether to."""
    if request.method != "POST":
        return render(request, "appointments/logout.html")
    logout(request)
    response = redirect("login")
    response["Clear-Site-Data"] = '"cache", "storage"'
    return response


@login_not_required
@require_http_methods(["GET", "HEAD", "POST"])
def language(request: StaffRequest) -> HttpResponse:
    """Change the language, of the person or (before the login) of the browser, and go back."""
    back = request.POST.get("next", "")
    # `redirect` would take anything without a slash for the name of a view.
    if not back.startswith("/") or not url_has_allowed_host_and_scheme(
        back, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        back = reverse("appointments")
    response = redirect(back)
    response.status_code = 303
    code = request.POST.get("language", "")
    if languages.is_offered(code):
        languages.choose(request, code)
        languages.remember_in_browser(response, code)
    return response
