"""``python -m profactory`` is ``profactory``; torchrun starts it that way."""

from profactory.cli.main import main

raise SystemExit(main())
