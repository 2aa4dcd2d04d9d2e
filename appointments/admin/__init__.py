"""
For administrators: looking, and configuration.

The ledger is read-only here. Credentials go in and never come out: their fields are always empty,
and an empty field keeps what is stored. Every label stands here or with the model in the reader's
language; what providers and people wrote stays as it is.
"""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy

from appointments.admin import connections, ledger, people, presets

__all__ = ["connections", "ledger", "people", "presets"]

admin.site.site_header = gettext_lazy("Appointment portal")
admin.site.site_title = gettext_lazy("Appointment portal")
admin.site.index_title = gettext_lazy("Administration")
# The way back to the desk stands in `admin/base_site.html`, under its own name.
admin.site.site_url = None
