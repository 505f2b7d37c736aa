"""Questions asked with the parts below: editing in sequence, localization and editing, probes, one edit, pages."""

from lens_rome.studies.sequence import sequence as sequence
from lens_rome.studies.sequence_report import Checkpoint as Checkpoint
from lens_rome.studies.sequence_report import SequenceReport as SequenceReport
from lens_rome.studies.sequence_report import Skipped as Skipped
