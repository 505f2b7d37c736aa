"""Pages for people: one self-contained HTML file each."""

from lens_rome.studies.pages.edit_page import edit_page as edit_page
from lens_rome.studies.pages.edit_page import save_edit_page as save_edit_page
from lens_rome.studies.pages.report_page import report_page as report_page
from lens_rome.studies.pages.report_page import save_report_page as save_report_page
