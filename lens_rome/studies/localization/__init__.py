"""Does localization inform editing? The study of Hase et al. (https://arxiv.org/abs/2301.04213) for any model."""

from lens_rome.studies.localization.concentrated import concentrated_ids as concentrated_ids
from lens_rome.studies.localization.correlations import correlations as correlations
from lens_rome.studies.localization.errors import MissingStatisticsError as MissingStatisticsError
from lens_rome.studies.localization.errors import StudyError as StudyError
from lens_rome.studies.localization.localization_table import localization_table as localization_table
from lens_rome.studies.localization.published import published_regressions as published_regressions
from lens_rome.studies.localization.regressions import regressions as regressions
from lens_rome.studies.localization.scores_table import scores_table as scores_table
