"""The main jobs from end to end: what the command line, the Python API and the page all call."""
