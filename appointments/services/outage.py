"""How it shows that the database is locked or gone, rather than that we asked it for nonsense."""

from django.db import InterfaceError, OperationalError

NO_DATABASE = (OperationalError, InterfaceError)
