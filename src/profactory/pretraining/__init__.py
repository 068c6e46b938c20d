"""Masked-language-model training of a protein language model, from scratch or continued.

`reading` turns a FASTA file (and optional annotations) into a `corpus` on disk, `batches` cuts it into
batches of one length, `masking` hides residues, `objectives` computes the losses, `starting` gives the
network to begin with, `network` runs it fast, `heldout` measures it and `export` writes it. Everything
random is a pure function of (seed, place in the training), so a killed run continues with exactly the
batches it would have seen. The loop is that of `profactory.training`.
"""
