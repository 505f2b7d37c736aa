"""What an edit did beyond what it was asked: the known limits of ROME as measurements.

Each probe takes an edit, or an editor that makes one a case, asks the unedited and the edited model the same, and gives
a `Finding`: a tidy table, its summary with intervals, and the one number that answers its question.

Reference: the limitations of ROME as reported on LessWrong ("Some limitations of ROME"), made measurable.
"""

from lens_rome.studies.probes.bleed import BleedCase as BleedCase
from lens_rome.studies.probes.bleed import bleed as bleed
from lens_rome.studies.probes.direction import DirectionCase as DirectionCase
from lens_rome.studies.probes.direction import direction as direction
from lens_rome.studies.probes.finding import Answer as Answer
from lens_rome.studies.probes.finding import Finding as Finding
from lens_rome.studies.probes.finding import Missing as Missing
from lens_rome.studies.probes.hops import HopsCase as HopsCase
from lens_rome.studies.probes.hops import hops as hops
from lens_rome.studies.probes.strength import StrengthCase as StrengthCase
from lens_rome.studies.probes.strength import strength as strength
