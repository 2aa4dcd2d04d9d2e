"""The one app."""

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy


class AppointmentsConfig(AppConfig):
    name = "appointments"
    verbose_name = gettext_lazy("Appointments")

    def ready(self) -> None:
        from appointments import checks, languages, roles
        from appointments.models import ledger_triggers, search_index

        checks.register_all()
        post_migrate.connect(ledger_triggers.create_after_migrate, sender=self)
        post_migrate.connect(search_index.create_after_migrate, sender=self)
        post_migrate.connect(roles.make_groups, sender=self)
        user_logged_in.connect(languages.recall, dispatch_uid="language")
