"""``python -m profactory`` is ``profactory``; torchrun starts it that way."""

import os

from profactory.cli.main import main

code = main()
if os.environ.get("WORLD_SIZE", "1") != "1":
    from profactory.training.distributed import end_process

    end_process(code)
raise SystemExit(code)
