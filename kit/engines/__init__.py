"""Engines: one folder or file for each thing that turns a Prompt into a Sample; the seam is kit.sampling."""
