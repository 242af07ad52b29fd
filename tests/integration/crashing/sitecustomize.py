"""Python imports this by itself where it is on the path: processes that die by a signal whenever they read a certain clip.

``$CRASH_ON`` holds clip_ids, separated by commas; ``$CRASH_LOG`` a file that gets a line for every death.
"""

import importlib.abc
import importlib.util
import os
import signal
import sys

MODULE = "vidclf.evaluation.clips"


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        run = spec.loader.exec_module

        def exec_module(module):  # type: ignore[no-untyped-def]
            run(module)
            read = module.EvaluationClips.read

            def deadly(self, index):  # type: ignore[no-untyped-def]
                clip_id = self.entries[index].clip_id
                if clip_id in os.environ["CRASH_ON"].split(","):
                    with open(os.environ["CRASH_LOG"], "a") as log:
                        log.write(f"{clip_id}\n")
                    os.kill(os.getpid(), signal.SIGSEGV)
                return read(self, index)

            module.EvaluationClips.read = deadly

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "CRASH_ON" in os.environ:
    sys.meta_path.insert(0, Finder())
