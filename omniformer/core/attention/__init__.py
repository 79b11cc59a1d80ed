"""Attention: one kernel a file behind one plan, and the layers that use them."""
