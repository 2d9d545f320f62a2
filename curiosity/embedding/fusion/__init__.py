"""Fusion: embeddings of several modalities of one moment into one vector. Each way of fusing is one file here.

Every fusion takes a mapping from modality to float[B, D_m] and a mask that says which items have it, and gives the same
vector whatever stands in the place of a modality that is missing.
"""
