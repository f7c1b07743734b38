from cam_repro.api import Explanation as Explanation
from cam_repro.api import LoadedNetwork as LoadedNetwork
from cam_repro.api import explain as explain
from cam_repro.api import load_network as load_network

__version__: str
