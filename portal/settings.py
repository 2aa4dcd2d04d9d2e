"""
Settings. Every difference between installations is an environment variable; README lists them.

Nothing here has a default that would be unsafe in production: without SECRET_KEY and
CREDENTIAL_KEYS the portal does not start.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP

# Lets classes of Django be written with their types, as ModelAdmin[Connection].
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(BASE_DIR / ".env")

# --- who we are -------------------------------------------------------------------------------

SECRET_KEY = env.str("SECRET_KEY")
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
HTTPS = env.bool("HTTPS", default=True)
DEMO = env.bool("DEMO", default=False)
"""Set by `manage.py demo`: pages say that nothing here is real."""

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "appointments",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "appointments.languages.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "appointments.middleware.SessionLimitsMiddleware",
    "appointments.middleware.StaffOnlyMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- where things are kept --------------------------------------------------------------------

WORKER_THREADS = env.int("WORKER_THREADS", default=16)
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR}/portal.sqlite3")}
_database = DATABASES["default"]
if _database["ENGINE"] == "django.db.backends.sqlite3":
    # FULL, because the ledger must survive power loss; IMMEDIATE, because a deferred transaction
    # that turns into a write fails at once instead of waiting.
    _database["OPTIONS"] = _database.get("OPTIONS", {}) | {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;"
        "PRAGMA mmap_size=134217728;PRAGMA cache_size=-20000;PRAGMA temp_store=MEMORY",
    }
    _database["CONN_MAX_AGE"] = 60
elif _database["ENGINE"] == "django.db.backends.postgresql":
    _database["OPTIONS"] = _database.get("OPTIONS", {}) | {
        "pool": {"min_size": 2, "max_size": WORKER_THREADS + 8, "timeout": 5},
        # A server that is gone without a word must not hold a worker for a quarter of an hour.
        "connect_timeout": 5,
        "tcp_user_timeout": 20_000,
        "options": "-c lock_timeout=20s",
    }
    _database["CONN_MAX_AGE"] = 0
    # After the server was restarted, the pool would hand out a dead connection each.
    _database["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default="")
HUEY: dict[str, Any] = {
    "name": "portal",
    "immediate": False,
    "utc": True,
    # Nobody asks what became of a task: the ledger says it.
    "results": False,
    "consumer": {
        "workers": WORKER_THREADS,
        "worker_type": "thread",
        "initial_delay": 0.05,
        "backoff": 1.15,
        "max_delay": 0.15,
        "scheduler_interval": 1,
        "check_worker_health": True,
        # What a service manager sends: finish what is being sent, then stop.
        "graceful_signal": "TERM",
    },
}
if REDIS_URL:
    # A Redis that hangs must not hold up a click; a worker waits for a task for one second.
    _patience = "socket_connect_timeout=1&socket_timeout=1.5"
    _redis = REDIS_URL + ("&" if "?" in REDIS_URL else "?") + _patience
    HUEY |= {"huey_class": "huey.RedisHuey", "connection": {"url": _redis}}
else:
    _queue_file = env.path("QUEUE_FILE", default=str(BASE_DIR / "queue.sqlite3"))
    HUEY |= {"huey_class": "huey.SqliteHuey", "connection": {"filename": str(_queue_file)}}
TASKS = {"default": {"BACKEND": "huey.contrib.djhuey.tasks_backend.HueyBackend"}}

ANSWERS_FILE = env.path("ANSWERS_FILE", default=str(BASE_DIR / "answers.jsonl"))
"""Where an answer is kept while the database cannot take it."""

CREDENTIAL_KEYS = env.list("CREDENTIAL_KEYS")
"""Fernet keys for the providers' credentials, newest first."""
if not CREDENTIAL_KEYS:
    raise ImproperlyConfigured("CREDENTIAL_KEYS is empty: give at least one Fernet key.")

# A review of 500 appointments sends two fields for each.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000

# --- providers --------------------------------------------------------------------------------

REHEARSAL = env.bool("REHEARSAL", default=env.bool("PROVIDER_PRIVATE_ADDRESSES", default=False))
"""
Everything is practice: requests go to sandbox providers on this very machine and nowhere else, and
every page says so. For training, the demo and the tests; never for an installation in use. Whoever
asks for addresses on this machine by the name that names them (`PROVIDER_PRIVATE_ADDRESSES`) gets
the same: there is no installation that reaches both.
"""
PROVIDER_PACING = env.bool("PROVIDER_PACING", default=True)
"""False only for demo and tests: requests are not held to what the providers allow a minute."""
COOLING_OFF = timedelta(seconds=env.int("COOLING_OFF_SECONDS", default=0))
"""Between the press and the request: so long a cancellation can still be taken back."""
if not timedelta(0) <= COOLING_OFF <= timedelta(minutes=5):
    raise ImproperlyConfigured("COOLING_OFF_SECONDS lies between 0 and 300.")
CANCELS_IN_FLIGHT = env.int("CANCELS_IN_FLIGHT", default=4)
"""Cancellations that may be under way at one connection at a time."""

# --- people -----------------------------------------------------------------------------------

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "appointments"
LOGOUT_REDIRECT_URL = "login"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- language and time ------------------------------------------------------------------------

LANGUAGES = [("en", "English"), ("nl", "Nederlands"), ("de", "Deutsch")]
LANGUAGE_CODE = env.str("LANGUAGE_CODE", default="en")
"""For browsers that ask for no language of ours, until somebody chooses one."""
LOCALE_PATHS = [BASE_DIR / "appointments" / "locale"]
USE_I18N = True
FORMAT_MODULE_PATH = ["portal.formats"]
USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="Europe/Amsterdam")

# --- files ------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / ".static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# --- security ---------------------------------------------------------------------------------

SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "font-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.SELF],
    "object-src": [CSP.NONE],
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "appointments.middleware.csrf_failure"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
if HTTPS:
    # The prefix makes browsers refuse the cookie from anything but this very host over HTTPS.
    SESSION_COOKIE_NAME = "__Host-session"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
    SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "filters": {
        "seldom": {"()": "portal.logs.Seldom"},
        "without_secrets": {"()": "portal.logs.WithoutSecrets"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["without_secrets"],
        }
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    # httpx logs whole addresses at INFO, and an address may hold a person's data.
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "huey": {"level": "WARNING"},
        # Without its store, each of its threads complains several times a second.
        "huey.consumer.Worker": {"filters": ["seldom"]},
        "huey.consumer.Scheduler": {"filters": ["seldom"]},
        "django.tasks": {"level": "WARNING"},
    },
}
