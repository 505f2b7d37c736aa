"""Imported first in the children's server: the package without its front door, which would load TransformerLens.

The children start in a fraction of the time, and would fail if the layer needed a model.
"""

import sys
from pathlib import Path
from types import ModuleType

package = ModuleType("lens_rome")
package.__path__ = [str(Path(__file__).parents[2] / "lens_rome")]
sys.modules.setdefault("lens_rome", package)
