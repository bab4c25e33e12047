"""Dual encoders as they are published: CLIP, SigLIP and their like."""
