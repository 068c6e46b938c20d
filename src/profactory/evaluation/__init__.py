"""How good a model is: metrics with intervals, baselines beside them, plots, one report.

Import from the modules: :mod:`~profactory.evaluation.names` (which metrics there are; needs nothing
heavy), :mod:`~profactory.evaluation.metrics`, :mod:`~profactory.evaluation.intervals`,
:mod:`~profactory.evaluation.baselines` and :mod:`~profactory.evaluation.report`.
"""
