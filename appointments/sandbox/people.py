"""People for the demo: made up, with addresses and numbers that reach nobody."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Person:
    first_name: str
    last_name: str
    email: str
    phone: str
    time_zone: str = "Europe/Amsterdam"

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"


def _person(number: int, line: str) -> Person:
    first, last, zone = (part.strip() for part in line.split("|"))
    prefix = {
        "Europe/Amsterdam": "+31 6 5550",
        "Europe/Berlin": "+49 30 5550",
        "America/New_York": "+1 212 555 0",
        "Asia/Kolkata": "+91 98400 ",
    }[zone]
    digits = f"{number * 7919 % 100000:05d}" if zone == "Asia/Kolkata" else f"{100 + number}"
    plain = unicodedata.normalize("NFKD", f"{first}.{last}".lower().replace("ß", "ss"))
    slug = "".join(char for char in plain if (char.isascii() and char.isalpha()) or char == ".")
    return Person(
        first_name=first,
        last_name=last,
        email=f"{slug.strip('.') or 'person'}{number}@example.{('com', 'org', 'net')[number % 3]}",
        phone=f"{prefix}{digits}",
        time_zone=zone,
    )


_LINES = """
Sanne|de Vries|Europe/Amsterdam
Mehmet|Yılmaz|Europe/Amsterdam
Anne-Marie|van 't Hoff|Europe/Amsterdam
Joost|Bakker|Europe/Amsterdam
Noor|Smit|Europe/Amsterdam
Daan|Jansen|Europe/Amsterdam
Emma|Visser|Europe/Amsterdam
Fatima|El Amrani|Europe/Amsterdam
Thijs|Mulder|Europe/Amsterdam
Lotte|van den Berg|Europe/Amsterdam
Bram|de Graaf|Europe/Amsterdam
Sofie|Dekker|Europe/Amsterdam
Ruben|Peters|Europe/Amsterdam
Iris|Hendriks|Europe/Amsterdam
Karim|Benali|Europe/Amsterdam
Lena|Vogt|Europe/Berlin
Omar|Haddad|Europe/Berlin
Ida|Sørensen|Europe/Berlin
Jürgen|Weiß|Europe/Berlin
Hannah|Schäfer|Europe/Berlin
Lukas|Brandt|Europe/Berlin
Mia|Köhler|Europe/Berlin
Felix|Neumann|Europe/Berlin
Clara|Zimmermann|Europe/Berlin
Paul|Krüger|Europe/Berlin
Zoë|Lindner|Europe/Berlin
María|López-Ortega|America/New_York
James|O'Connor|America/New_York
Ashley|Washington|America/New_York
David|Nguyen|America/New_York
Emily|Carter|America/New_York
Robert|Miller|America/New_York
Grace|Kim|America/New_York
Samuel|Rivera|America/New_York
Aadhi|Raman|Asia/Kolkata
மீனாட்சி|சுந்தரம்|Asia/Kolkata
Ravi|Subramanian|Asia/Kolkata
Ishaan|Kapoor|Asia/Kolkata
Nila|Krishnan|Asia/Kolkata
Priya|Venkatesh|Asia/Kolkata
Arjun|Nair|Asia/Kolkata
Divya|Menon|Asia/Kolkata
"""

PEOPLE: tuple[Person, ...] = tuple(
    _person(number, line) for number, line in enumerate(_LINES.strip().splitlines(), start=1)
)
