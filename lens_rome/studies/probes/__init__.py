"""What an edit did beyond what it was asked: the known limits of ROME as measurements.

Each probe takes an edit, or an editor that makes one a case, asks the unedited and the edited model the same, and gives
a `Finding`: a tidy table, its summary with intervals, and the one number that answers its question.

Reference: the limitations of ROME as reported on LessWrong ("Some limitations of ROME"), made measurable.
"""

from lens_rome.studies.probes.finding import Answer as Answer
from lens_rome.studies.probes.finding import Finding as Finding
from lens_rome.studies.probes.finding import Missing as Missing
