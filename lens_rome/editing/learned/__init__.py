"""Editors that are trained on facts of a model before they edit it: MEND and KnowledgeEditor."""

from lens_rome.editing.learned.knowledge_editor import KnowledgeEditor as KnowledgeEditor
from lens_rome.editing.learned.knowledge_editor import TrainedKnowledgeEditor as TrainedKnowledgeEditor
from lens_rome.editing.learned.mend import MEND as MEND
from lens_rome.editing.learned.mend import TrainedMEND as TrainedMEND
from lens_rome.editing.learned.trained import SeenSubjectWarning as SeenSubjectWarning
