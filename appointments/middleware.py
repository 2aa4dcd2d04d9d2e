"""Placeholder until the views exist."""

from django.contrib.auth.middleware import LoginRequiredMiddleware


class StaffOnlyMiddleware(LoginRequiredMiddleware):
    pass
