"""Servers that are not ours, on the same model and the same work, each set up as its makers advise.

They run in Pythons of their own and import nothing of this repository but what stands here.
"""
