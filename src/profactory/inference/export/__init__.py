"""A trained model in forms that other runtimes read, each compared with the original before it is kept."""
