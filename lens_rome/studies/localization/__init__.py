"""Does localization inform editing? The study of Hase et al. (https://arxiv.org/abs/2301.04213) for any model."""

from lens_rome.studies.localization.analysis import Analysis as Analysis
from lens_rome.studies.localization.analysis import analysis as analysis
from lens_rome.studies.localization.concentrated import concentrated_ids as concentrated_ids
from lens_rome.studies.localization.correlations import correlations as correlations
from lens_rome.studies.localization.effects import WINDOWS as WINDOWS
from lens_rome.studies.localization.errors import StudyError as StudyError
from lens_rome.studies.localization.job import LocalizationJob as LocalizationJob
from lens_rome.studies.localization.known import known_records as known_records
from lens_rome.studies.localization.localization_table import localization_table as localization_table
from lens_rome.studies.localization.methods import METHODS as METHODS
from lens_rome.studies.localization.methods import Method as Method
from lens_rome.studies.localization.methods import study_methods as study_methods
from lens_rome.studies.localization.published import published_regressions as published_regressions
from lens_rome.studies.localization.regressions import regressions as regressions
from lens_rome.studies.localization.report import LocalizationReport as LocalizationReport
from lens_rome.studies.localization.scores_table import scores_table as scores_table
from lens_rome.studies.localization.study import load_localization as load_localization
from lens_rome.studies.localization.study import localization as localization
from lens_rome.studies.localization.study import open_study as open_study
from lens_rome.studies.localization.study import study_job as study_job
from lens_rome.studies.localization.study import trace_study as trace_study
