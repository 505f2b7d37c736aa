"""Readers of published data sets: facts to trace, records to edit, and the texts that edits are measured by."""

from lens_rome.datasets.read import read_facts as read_facts
from lens_rome.datasets.records import iter_records as iter_records
from lens_rome.datasets.records import read_records as read_records
from lens_rome.datasets.references import References as References
from lens_rome.datasets.requests import read_requests as read_requests
from lens_rome.datasets.snippets import Snippets as Snippets
from lens_rome.datasets.snippets import read_snippets as read_snippets
from lens_rome.datasets.snippets import wanted_groups as wanted_groups
from lens_rome.datasets.tfidf import TfIdf as TfIdf
from lens_rome.datasets.zsre import read_zsre as read_zsre
