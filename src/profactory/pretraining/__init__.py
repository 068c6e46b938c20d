"""Masked-language-model training of a protein language model, from scratch or continued.

`corpus` turns a FASTA file (and optional annotations) into flat arrays on disk, `batches` cuts them into
batches of one length, `objectives` masks them and computes the losses, `model` builds and exports the
network. Everything random is a pure function of (seed, step), so a killed run continues with exactly the
batches it would have seen.
"""
