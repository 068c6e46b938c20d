"""Work that goes on when the terminal or the page that started it is closed.

A job is ``profactory VERB …`` in a session of its own, with a watcher beside it that notes how it ended. Its
folder lies beside the run::

    runs/
      proteins-mini-lora/                        the run
      .jobs/proteins-mini-lora/                  the job that trains it
        job.json       what was started, and the process (id and start time)
        log.txt        what it said (stdout and stderr)
        progress.json  how far it is, while it counts something
        end.json       exit code or signal, memory at its highest
        stop.json      that it was asked to stop

Nothing here imports torch.
"""

from profactory.jobs.arguments import as_flags
from profactory.jobs.job import RUN_VERBS, Job, list_jobs
from profactory.jobs.verdict import JobState
from profactory.jobs.work import find, forget, start, state, stop

__all__ = [
    "RUN_VERBS",
    "Job",
    "JobState",
    "as_flags",
    "find",
    "forget",
    "list_jobs",
    "start",
    "state",
    "stop",
]
