"""Prediction and embedding on a Ray cluster: the input in blocks, one Parquet file for each.

The computation of a block is that of one machine. What is here cuts the input, hands the blocks to workers
that have the model loaded, and keeps the finished parts in order. Nothing imports ray before it is needed.
"""
