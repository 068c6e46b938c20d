"""A cluster that somebody asked for beside the options that have no meaning on one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from profactory.errors import ConfigError, Problem

if TYPE_CHECKING:
    from profactory.scale.cluster import Cluster


def open_cluster(
    kind: str | None,
    address: str | None,
    workers: int | None,
    *,
    device: str,
    meaningless: Mapping[str, bool],
) -> Cluster | None:
    """Check what was asked of a cluster; None if there is to be none.

    Parameters
    ----------
    kind, address, workers, device
        As typed.
    meaningless
        What has no meaning on a cluster, as a clause, and whether it was typed.

    Raises
    ------
    ConfigError
        An option without its meaning, each of them named.
    MissingExtraError
        Ray is not installed.
    """
    if kind is None:
        alone = {"--address": address is not None, "--workers": workers is not None}
        if any(alone.values()):
            raise ConfigError(
                f"{' and '.join(name for name, typed in alone.items() if typed)} is about a cluster.",
                fix="add --cluster ray",
            )
        return None
    wrong = [Problem(clause) for clause, typed in meaningless.items() if typed]
    if wrong:
        raise ConfigError(
            "Some of what was asked has no meaning with --cluster.",
            problems=wrong,
            fix="leave it out, or leave --cluster out",
        )
    from profactory.scale.cluster import Cluster

    return Cluster(kind, address, workers, device)
