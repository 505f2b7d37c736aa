"""The atlas: a small GPT-2 trained on a closed world of real facts, and that world."""

from lens_rome.atlas.load import load_atlas as load_atlas
from lens_rome.atlas.source import AtlasDataError as AtlasDataError
from lens_rome.atlas.source import Relation as Relation
from lens_rome.atlas.source import Subject as Subject
from lens_rome.atlas.world import UnknownFactError as UnknownFactError
from lens_rome.atlas.world import World as World
