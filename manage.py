#!/usr/bin/env python
"""Django's command line."""

import os
import sys


def main() -> None:
    if sys.argv[1:2] == ["demo"]:
        from portal.demo import prepare_environment

        prepare_environment(sys.argv[2:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
