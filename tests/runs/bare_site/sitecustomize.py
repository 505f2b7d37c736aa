"""Run by every Python that has this folder in PYTHONPATH, such as Ray's workers: what `tests.runs.bare` does."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

package = ModuleType("lens_rome")
package.__path__ = [str(Path(__file__).parents[3] / "lens_rome")]
package.__spec__ = ModuleSpec("lens_rome", None, is_package=True)
sys.modules.setdefault("lens_rome", package)
