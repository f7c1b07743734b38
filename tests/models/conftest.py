"""Makes ``model_helpers`` importable: the importlib mode adds no folder of tests to the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
