"""Readers of published data sets: facts to trace and records to edit, from a file."""

from lens_rome.datasets.read import read_facts as read_facts
from lens_rome.datasets.requests import read_requests as read_requests
