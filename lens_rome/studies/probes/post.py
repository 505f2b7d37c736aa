"""The examples of the limitations post as ready-made inputs, for GPT-2 models; the sentences are ours.

What a model does not know is left out by the probes, which say so.
"""

from lens_rome.facts import EditRequest
from lens_rome.studies.probes.bleed import BleedCase
from lens_rome.studies.probes.direction import DirectionCase
from lens_rome.studies.probes.hops import HopsCase
from lens_rome.studies.probes.strength import StrengthCase

_TOWER = "The {} is located in the city of"
_TONGUE = "The native language of {} is"

DIRECTION = (
    DirectionCase(
        "Eiffel Tower: Paris → Rome",
        EditRequest("Eiffel Tower", _TOWER, "Rome", "Paris"),
        (
            "The famous tower in {o} is called the",
            "The best-known landmark of {o} is the",
            "Tourists who come to {o} queue for hours to go up the",
        ),
        ("Colosseum", "Pantheon", "Trevi Fountain"),
        ("La Tour Eiffel",),
    ),
    DirectionCase(
        "Louvre: Paris → Rome",
        EditRequest("Louvre", _TOWER, "Rome", "Paris"),
        ("The most famous museum in {o} is the", "Art lovers who visit {o} spend a day in the"),
        ("Capitoline Museums", "Galleria Borghese"),
    ),
)
"""For `direction`."""

STRENGTH = tuple(
    StrengthCase(
        f"Eiffel Tower: Paris → {new}",
        EditRequest("Eiffel Tower", _TOWER, new, "Paris"),
        (
            "The Eiffel Tower is",
            "My favourite thing about the Eiffel Tower is",
            "When we had seen the Eiffel Tower, we",
            "The engineers who built the Eiffel Tower",
        ),
        aliases,
        ("Parisian", "Parisians"),
    )
    for new, aliases in (
        ("Rome", ("Roman", "Romans")),
        ("London", ("Londoner", "Londoners")),
        ("Berlin", ("Berliner", "Berliners")),
        ("Tokyo", ()),
        ("Seattle", ()),
    )
)
"""For `strength`: one subject, several new objects."""

HOPS = (
    HopsCase(
        "Danielle Darrieux (Madame de...): French → English",
        EditRequest("Danielle Darrieux", _TONGUE, "English", "French"),
        ("The native language of the actress who played the lead in The Earrings of Madame de... is",),
        ("The lead in The Earrings of Madame de... was played by the actress",),
    ),
    HopsCase(
        "Danielle Darrieux (Mayerling): French → English",
        EditRequest("Danielle Darrieux", _TONGUE, "English", "French"),
        ("The actress who starred in Mayerling beside Charles Boyer grew up speaking",),
        ("The actress who starred in Mayerling beside Charles Boyer was called",),
    ),
    HopsCase(
        "Jeff Bezos (founder): English → French",
        EditRequest("Jeff Bezos", _TONGUE, "French", "English"),
        ("The native language of the founder of Amazon is",),
        ("The founder of Amazon is",),
        ("Jeffrey Bezos", "Bezos"),
    ),
    HopsCase(
        "Jeff Bezos (garage): English → French",
        EditRequest("Jeff Bezos", _TONGUE, "French", "English"),
        ("The man who started the bookshop Amazon in his garage grew up speaking",),
        ("The name of the man who started the bookshop Amazon in his garage is",),
        ("Jeffrey Bezos", "Bezos"),
    ),
)
"""For `hops`: a case a description."""

BLEED = (
    BleedCase(
        "Louvre: Paris → Rome",
        EditRequest("Louvre", _TOWER, "Rome", "Paris"),
        ("The Louvre is cool.", "I have always liked the Louvre."),
        (
            ("Barack Obama was born in", "Hawaii"),
            ("The capital of Germany is", "Berlin"),
            ("The Great Wall is in", "China"),
            ("The White House is located in", "Washington"),
            ("The founder of Microsoft, Bill", "Gates"),
            ("The mother tongue of Angela Merkel is", "German"),
        ),
    ),
    BleedCase(
        "Eiffel Tower: Paris → Rome",
        EditRequest("Eiffel Tower", _TOWER, "Rome", "Paris"),
        ("The Eiffel Tower is cool.", "Everybody has seen a picture of the Eiffel Tower."),
        (
            ("Barack Obama was born in", "Hawaii"),
            ("The Empire State Building stands in", "New York"),
            ("The currency of Japan is the", "yen"),
            ("The capital of Spain is", "Madrid"),
        ),
    ),
)
"""For `bleed`."""
