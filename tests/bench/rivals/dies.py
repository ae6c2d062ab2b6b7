"""Is killed, as by a kernel out of memory."""

import os
import signal

from edge_runtime.contender import EdgeContender


class Dies(EdgeContender):
    def load(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


open_contender = Dies
