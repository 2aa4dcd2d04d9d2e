"""Addresses of the whole site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("appointments.urls")),
]

handler403 = "appointments.views.errors.forbidden"
handler400 = "appointments.views.errors.bad_request"
