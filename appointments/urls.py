"""Addresses of the desk. Names and paths are relied on from outside; see the tests of views."""

from django.contrib.auth.views import LoginView
from django.urls import path, re_path

from appointments.views import (
    activity,
    appointments,
    batches,
    bookings,
    cancellations,
    feeds,
    health,
    paper,
    saved,
    session,
)

urlpatterns = [
    path("", appointments.index, name="appointments"),
    path("appointments/<int:pk>/", appointments.detail, name="appointment"),
    path("appointments/<int:pk>/with/", appointments.note_practitioner, name="note-practitioner"),
    path("appointments/<int:pk>/cancel/", cancellations.cancel, name="cancel"),
    path("appointments/<int:pk>/look/", cancellations.look, name="look"),
    path("print/", paper.day_sheet, name="day-sheet"),
    path("appointments.csv", paper.list_file, name="list-file"),
    path("views/", saved.index, name="saved-views"),
    path("views/<int:pk>/rename/", saved.rename, name="rename-view"),
    path("views/<int:pk>/delete/", saved.delete, name="delete-view"),
    path("views/<int:pk>/start/", saved.start, name="start-view"),
    path("feeds/", feeds.index, name="feeds"),
    path("feeds/<int:pk>/revoke/", feeds.revoke, name="revoke-feed"),
    re_path(r"^feeds/(?P<token>[\w-]{43})\.ics$", feeds.feed, name="feed"),
    path("cancellations/<int:pk>/", cancellations.outcome, name="cancellation"),
    path("cancellations/<int:pk>/take-back/", cancellations.withdraw, name="take-back"),
    path("cancellations/<int:pk>/read-again/", cancellations.reread, name="read-again"),
    path("cancellations/<int:pk>/settle/", cancellations.settle, name="settle"),
    path("batches/", batches.start, name="start-batch"),
    path("batches/review/", batches.review, name="review-batch"),
    path("batches/<int:pk>/", batches.progress, name="batch"),
    path("batches/<int:pk>/stop/", batches.stop, name="stop-batch"),
    path("batches/<int:pk>/resume/<int:connection>/", batches.resume, name="resume-batch"),
    path("batches/<int:pk>/calls/", batches.calls, name="calls"),
    path("batches/<int:pk>/calls.csv", batches.calls_file, name="calls-file"),
    path("batches/<int:pk>/calls/<int:person>/", batches.reached, name="reached"),
    path("unsettled/", activity.unsettled, name="unsettled"),
    path("activity/", activity.index, name="activity"),
    path("activity.csv", activity.file, name="activity-file"),
    path("schedule/", bookings.schedule, name="schedule"),
    path("bookings/<int:pk>/", bookings.outcome, name="booking"),
    path(
        "login/",
        LoginView.as_view(
            template_name="appointments/login.html",
            authentication_form=session.LoginForm,
            redirect_authenticated_user=True,
        ),
        name="login",
    ),
    path("logout/", session.leave, name="logout"),
    path("healthz", health.healthz, name="healthz"),
]
