"""Long work that survives a stop: resumable, sharded, append-only runs. Knows no model.

A run is a folder: `manifest.json` says what is computed, and each start of each worker adds one file of rows. Workers
do not talk to each other, so anything can launch them, a dead one hurts nobody, and their number may change between
starts.
"""

from lens_rome.runs.arrays import decode_array as decode_array
from lens_rome.runs.arrays import encode_array as encode_array
from lens_rome.runs.execute import execute as execute
from lens_rome.runs.ray_engine import MissingRayError as MissingRayError
from lens_rome.runs.ray_engine import execute_on_ray as execute_on_ray
from lens_rome.runs.run import Run as Run
from lens_rome.runs.workers import Worker as Worker
