"""What a web server runs: `gunicorn portal.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

from portal.logs import hide_secrets_of_servers

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

application = get_wsgi_application()
hide_secrets_of_servers()
