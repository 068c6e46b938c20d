"""Models on their way to other people: one file, or a repository of the Hugging Face Hub."""
