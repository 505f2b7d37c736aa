"""What an edit did beyond what it was asked: the known limits of ROME as measurements.

Each probe takes an edit, or an editor that makes one a case, asks the unedited and the edited model the same, and gives
a `Finding`: a tidy table, its summary with intervals, and the one number that answers its question.

Reference: the limitations of ROME as reported on LessWrong ("Some limitations of ROME"), made measurable.
"""

from lens_rome.studies.probes.bleed import BleedCase as BleedCase
from lens_rome.studies.probes.bleed import bleed as bleed
from lens_rome.studies.probes.concept import RelatedSubject as RelatedSubject
from lens_rome.studies.probes.concept import concept as concept
from lens_rome.studies.probes.concept_numbers import RelatedChanges as RelatedChanges
from lens_rome.studies.probes.concept_numbers import related_changes as related_changes
from lens_rome.studies.probes.direction import DirectionCase as DirectionCase
from lens_rome.studies.probes.direction import direction as direction
from lens_rome.studies.probes.finding import Answer as Answer
from lens_rome.studies.probes.finding import Finding as Finding
from lens_rome.studies.probes.finding import Missing as Missing
from lens_rome.studies.probes.hops import HopsCase as HopsCase
from lens_rome.studies.probes.hops import hops as hops
from lens_rome.studies.probes.layers import layers as layers
from lens_rome.studies.probes.post_words import post_words as post_words
from lens_rome.studies.probes.prefix_sets import PrefixSet as PrefixSet
from lens_rome.studies.probes.prefix_sets import prefix_sets as prefix_sets
from lens_rome.studies.probes.prefixes import prefixes as prefixes
from lens_rome.studies.probes.related_inputs import atlas_aliases as atlas_aliases
from lens_rome.studies.probes.related_inputs import atlas_related as atlas_related
from lens_rome.studies.probes.strength import StrengthCase as StrengthCase
from lens_rome.studies.probes.strength import strength as strength
