"""The story of one edit as a value: where the fact showed, what was written, what changed, what did not, what leaked.

`edit_story` makes it from a model and an editor; `lens_rome.studies.pages.save_edit_page` writes it as a page.
"""

from lens_rome.studies.one_edit.making import edit_story as edit_story
from lens_rome.studies.one_edit.probing import NOT_ASKED as NOT_ASKED
from lens_rome.studies.one_edit.probing import probe_edit as probe_edit
from lens_rome.studies.one_edit.questions import GROUPS as GROUPS
from lens_rome.studies.one_edit.questions import Group as Group
from lens_rome.studies.one_edit.questions import Question as Question
from lens_rome.studies.one_edit.questions import record_questions as record_questions
from lens_rome.studies.one_edit.replies import Reply as Reply
from lens_rome.studies.one_edit.replies import Written as Written
from lens_rome.studies.one_edit.story import EditStory as EditStory
from lens_rome.studies.one_edit.world_questions import world_questions as world_questions
