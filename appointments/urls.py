"""Addresses of the desk. Names and paths are relied on from outside; see the tests of views."""

from django.contrib.auth.views import LoginView
from django.urls import path

from appointments.views import (
    activity,
    appointments,
    batches,
    bookings,
    cancellations,
    changes,
    health,
    session,
)

urlpatterns = [
    path("", appointments.index, name="appointments"),
    path("appointments/<int:pk>/", appointments.detail, name="appointment"),
    path("appointments/<int:pk>/cancel/", cancellations.cancel, name="cancel"),
    path("appointments/<int:pk>/look/", cancellations.look, name="look"),
    path("appointments/<int:pk>/move/", changes.move, name="move"),
    path("appointments/<int:pk>/confirm/", changes.confirm, name="confirm"),
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
    path("schedule/", bookings.schedule, name="schedule"),
    path("bookings/<int:pk>/", bookings.outcome, name="booking"),
    path("bookings/<int:pk>/take-back/", bookings.withdraw, name="take-back-booking"),
    path("bookings/<int:pk>/read-again/", bookings.reread, name="read-booking-again"),
    path("bookings/<int:pk>/settle/", bookings.settle, name="settle-booking"),
    path("bookings/<int:pk>/keep-both/", bookings.keep, name="keep-both"),
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
