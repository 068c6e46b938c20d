"""A trained model at work: sequences in memory, and files of any size."""
